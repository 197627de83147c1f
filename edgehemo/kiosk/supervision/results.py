"""The supervisor's results: the list, one result with all that became of it, two side by side,
and what a supervisor does with one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

from edgehemo.errors import RecordsError
from edgehemo.interop.outbox import Delivery, deliveries_of, delivery_of, noting
from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.delivery_words import Mark, delivery_lines, delivery_mark, mark_words
from edgehemo.kiosk.not_released import not_released
from edgehemo.kiosk.paging import page_of, rows_of
from edgehemo.kiosk.review_words import said_of
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.state import CELLS_PER_PAGE
from edgehemo.kiosk.supervision import result_hand, result_list, result_page
from edgehemo.kiosk.supervision.history import history_of
from edgehemo.kiosk.supervision.light_records import light_record
from edgehemo.kiosk.supervision.pictures import ResultPictures
from edgehemo.kiosk.supervision.reasons import OTHER, REASONS, Deed, deed_reason_name, said_reason
from edgehemo.kiosk.supervision.result_list import asking
from edgehemo.records.audit import entries
from edgehemo.records.controls import control_mark
from edgehemo.records.identifiers import written
from edgehemo.records.results import StoredResult, result_of
from edgehemo.records.reviews import amendments_from, reviews_of
from edgehemo.records.search import PILES, SAID_GRADES, Search, found_count, operators, search
from edgehemo.records.store import Reader, Writer
from edgehemo.records.versions import Amendments, Override, change
from edgehemo.report.verdict import GRADES, grade_name
from edgehemo.words.cell_names import cell_name
from edgehemo.words.language import Words

# So often it is noted that one person looks at one result.
LOOKED_AGAIN = timedelta(minutes=15)
_TABS = ("", "history", "fields", "cells", "compare")


class ResultsArea:
    """Its pages: ``""`` the list, ``search``, ``<result>`` with its tabs and deeds, ``picture``."""

    area: Area = "results"

    def __init__(self) -> None:
        self._pictures = ResultPictures()

    # -- pages ------------------------------------------------------------------------------------

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """See `edgehemo.kiosk.area.AreaPages`."""
        parts = asked.path.split("/") if asked.path else []
        if not parts:
            return self._list(desk, asked)
        if parts == ["search"]:
            return self._search(desk, asked)
        if parts[0] == "picture":
            return self._picture(desk, parts[1:])
        if len(parts) > 2:
            return None
        result = _result(desk.kiosk.writer, parts[0])
        if result is None:
            return None
        page = parts[1] if len(parts) == 2 else ""
        if page == result_hand.PAGE:
            values = self._of_result(desk, asked, result)
            values["errand"] = result_hand.errand(desk, result.id)
            values["warned"] = not_released(desk.kiosk.writer, result, asked.words)
            return Shown("supervision/result_hand.html.j2", values)
        if page in _TABS:
            _note_look(desk.kiosk.writer, result, asked.who.name)
            return self._tab(desk, asked, result, page)
        deed = next((each for each in result_page.DEEDS if each == page), None)
        if page == "change" or deed in result_page.deeds(result, desk.kiosk.state):
            return self._deed(desk, asked, result, deed)
        return None

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """See `edgehemo.kiosk.area.AreaPages`."""
        parts = asked.path.split("/")
        if len(parts) != 2:
            return None
        deed = next((each for each in result_page.DEEDS if each == parts[1]), None)
        result = _result(desk.kiosk.writer, parts[0])
        if result is not None and parts[1] in (*result_hand.WAYS, "stop"):
            return self._hand_out(desk, asked, result, parts[1])
        if deed is None or result is None:
            return None
        words = asked.words
        back = _with_list(result.id, asked)
        if deed not in result_page.deeds(result, desk.kiosk.state):
            return Went(back, problem=words._("This cannot be done with this result any more."))
        if problem := _not_said(deed, asked.values, words):
            given = {key: asked.values.get(key, "") for key in ("grade", "reason")}
            return Went(_with_list(f"{result.id}/{deed}", asked, **given), problem=problem)
        _change(desk, result, deed, asked)
        return Went(back, said=result_page.deed_said(words, deed))

    def _hand_out(self, desk: Desk, asked: Asked, result: StoredResult, what: str) -> Went:
        way = next((each for each in result_hand.WAYS if each == what), None)
        if way is None:
            result_hand.stop(desk)
        else:
            result_hand.begin(way, desk, result.id, asked)
        return Went(_with_list(f"{result.id}/{result_hand.PAGE}", asked))

    def _list(self, desk: Desk, asked: Asked) -> Shown:
        reader, words, today = desk.kiosk.writer, asked.words, _today()
        wanted = asking(asked.values, today)
        in_all = found_count(reader, wanted.search)
        pages = max(1, -(-in_all // wanted.rows))
        wanted = wanted.on_page(min(wanted.page, pages))
        first = (wanted.page - 1) * wanted.rows
        found = search(reader, wanted.search, limit=wanted.rows, offset=first)
        delivered = deliveries_of(reader, [each.listed.id for each in found])
        rows = [
            result_list.row_of(each, _hgb(reader, each.reading_sha256), words, today)
            | {"sent": _sent(words, delivered.get(each.listed.id, ()))}
            for each in found
        ]
        piles = [
            {
                "query": replace(wanted, search=Search(pile=pile), days=None, page=1).query,
                "name": result_list.pile_name(words, pile),
                "count": found_count(reader, Search(pile=pile)),
                "chosen": pile == wanted.search.pile,
            }
            for pile in PILES
        ]
        return Shown(
            "supervision/results.html.j2",
            {
                "wanted": wanted,
                "rows": rows,
                "piles": piles,
                "found": in_all,
                "first": first + 1,
                "last": first + len(rows),
                "pages": pages,
                "asked_for": result_list.asked_for(wanted, words),
            },
        )

    def _search(self, desk: Desk, asked: Asked) -> Shown:
        words = asked.words
        wanted = asking(asked.values, _today())
        return Shown(
            "supervision/results_search.html.j2",
            {
                "wanted": wanted,
                "people": operators(desk.kiosk.writer),
                "days": [(n, result_list.days_name(words, n)) for n in result_list.DAYS],
                "grades": [(g, result_list.short_grade(words, g)) for g in SAID_GRADES],
                "states": [(s, result_list.state_name(words, s)) for s in result_list.STATES],
            },
        )

    def _tab(self, desk: Desk, asked: Asked, result: StoredResult, tab: str) -> Shown:
        reader = desk.kiosk.writer
        values: dict[str, Any] = {
            **self._of_result(desk, asked, result),
            "tab": tab,
            "tabs": _tab_names(asked.words),
        }
        if tab == "":
            record = light_record(reader, result.reading_sha256)
            values["result"] = result_page.verdict(result, record, asked.words)
            values["about"] = result_page.facts(result, asked.words, _today())
            values["deliveries"] = delivery_lines(asked.words, delivery_of(reader, result.id))
        elif tab == "history":
            values |= self._history(reader, asked, result)
        elif tab == "fields":
            values |= self._fields(reader, asked, result)
        elif tab == "cells":
            values |= self._cells(reader, asked, result)
        else:
            return self._compare(desk, asked, result, values)
        return Shown(f"supervision/result_{tab or 'summary'}.html.j2", values)

    def _of_result(self, desk: Desk, asked: Asked, result: StoredResult) -> dict[str, Any]:
        """What every page of one result has."""
        mark = control_mark(desk.kiosk.writer, result)
        words, state = asked.words, desk.kiosk.state
        return {
            "id": result.id,
            "number": result.sample_now,
            "simulated": result.simulated,
            "standing": result_page.standing(result, mark, state, words, _today()),
            "deeds": result_page.deeds(result, state),
            "list": _list_query(asked),
        }

    def _history(self, reader: Reader, asked: Asked, result: StoredResult) -> dict[str, Any]:
        done = history_of(
            result.versions,
            list(entries(reader.connection, subject=result.id)),
            reviews_of(reader, result.number),
            asked.words,
            _today(),
        )
        rows = rows_of(asked.values)
        page, pages = page_of(asked.values, len(done), rows)
        shown = done[page * rows : (page + 1) * rows]
        return {"events": shown, "each": rows, "page": page + 1, "pages": pages}

    def _fields(self, reader: Reader, asked: Asked, result: StoredResult) -> dict[str, Any]:
        images = light_record(reader, result.reading_sha256)["images"]
        page, pages = page_of(asked.values, len(images), 1)
        image, field = images[page], result.fields[page]
        there = field.sha256 is not None and reader.contents.has(field.sha256)
        checks = image.get("checks") or ()
        return {
            "page": page + 1,
            "pages": pages,
            "there": there,
            "accepted": bool(image.get("accepted")),
            "counts": image.get("counts"),
            "why": [
                asked.words.title(check["code"])
                for check in checks
                if check["verdict"] != "pass" and check["code"]
            ][:4],
            "readable": "accepted" in image,
        }

    def _cells(self, reader: Reader, asked: Asked, result: StoredResult) -> dict[str, Any]:
        gallery = self._pictures.gallery(reader, result.id)
        said = {(each.field, each.cell): each for each in reviews_of(reader, result.number)}
        page, pages = page_of(asked.values, len(gallery.cells), CELLS_PER_PAGE)
        shown = range(len(gallery.cells))[page * CELLS_PER_PAGE : (page + 1) * CELLS_PER_PAGE]
        words = asked.words
        cells = []
        for item in shown:
            cell = gallery.cells[item]
            review = said.get((cell.field, cell.cell))
            name = words.title(cell.codes[0]) if cell.codes else cell_name(words, cell.type)
            cells.append(
                {
                    "item": item,
                    "name": name,
                    "found": bool(cell.codes),
                    "said": "" if review is None else said_of(review, words),
                    "by": "" if review is None else review.by,
                }
            )
        return {"cells": cells, "page": page + 1, "pages": pages}

    def _compare(
        self, desk: Desk, asked: Asked, result: StoredResult, values: dict[str, Any]
    ) -> Shown:
        """Beside another result that was picked, or the list to pick it from."""
        reader, words, today = desk.kiosk.writer, asked.words, _today()
        other = _result(reader, asked.values.get("with", ""))
        if other is not None and other.id != result.id:
            _note_look(reader, other, asked.who.name)
            both = [(each, light_record(reader, each.reading_sha256)) for each in (result, other)]
            values["other"] = {"id": other.id, "number": other.sample_now}
            values["lines"] = result_page.compared(both[0], both[1], words, today)
            return Shown("supervision/result_compared.html.j2", values)
        same, others = _candidates(reader, result)
        found = [*same, *others]
        rows = rows_of(asked.values)
        page, pages = page_of(asked.values, len(found), rows)
        values["rows"] = [
            {
                **result_list.row_of(each, _hgb(reader, each.reading_sha256), words, today),
                "same": each.listed.sample == result.sample_now,
            }
            for each in found[page * rows : (page + 1) * rows]
        ]
        values |= {"each": rows, "page": page + 1, "pages": pages}
        return Shown("supervision/result_compare.html.j2", values)

    def _deed(
        self, desk: Desk, asked: Asked, result: StoredResult, deed: Deed | None
    ) -> Shown | None:
        """To choose what is done, or to say why."""
        words = asked.words
        values = self._of_result(desk, asked, result)
        if deed is None:
            values["choices"] = [
                (each, result_page.deed_name(words, each), result_page.deed_meaning(words, each))
                for each in values["deeds"]
                if each != "sign"
            ]
            return Shown("supervision/result_change.html.j2", values)
        record = light_record(desk.kiosk.writer, result.reading_sha256)
        shown = result_page.verdict(result, record, words)
        now = result_page.override_of(result) or (record["anaemia"] or {}).get("grade")
        values |= {
            "deed": deed,
            "name": result_page.deed_name(words, deed),
            "meaning": result_page.deed_meaning(words, deed),
            "reasons": [(each, deed_reason_name(words, each)) for each in REASONS[deed]],
            "grades": [(each, grade_name(words, each)) for each in GRADES if each != now],
            "result": shown,
            "given": {key: asked.values.get(key, "") for key in ("grade", "reason")},
        }
        return Shown("supervision/result_deed.html.j2", values)

    def _picture(self, desk: Desk, parts: list[str]) -> Sent | None:
        """``picture/<result>/field/<n>.jpg`` or ``picture/<result>/cell/<n>.jpg``, from 0."""
        if len(parts) != 3 or not parts[2].endswith(".jpg"):
            return None
        stem = parts[2].removesuffix(".jpg")
        reader = desk.kiosk.writer
        result = _result(reader, parts[0])
        if result is None or not stem.isdecimal() or len(stem) > 6:
            return None
        number = int(stem)
        try:
            if parts[1] == "field" and number < len(result.fields):
                return Sent(self._pictures.field(reader, result.id, number), "image/jpeg")
            if parts[1] == "cell":
                gallery = self._pictures.gallery(reader, result.id)
                if number < len(gallery.cells):
                    return Sent(gallery.picture(number), "image/jpeg")
        except RecordsError:
            # Its picture was purged, or is damaged: the page says so in its place.
            return None
        return None


def _today() -> date:
    return datetime.now().astimezone().date()


def _result(reader: Reader, identifier: str) -> StoredResult | None:
    """A stored result; None where there is none of that name."""
    try:
        return result_of(reader, written(identifier))
    except RecordsError:
        return None


def _list_query(asked: Asked) -> str:
    """The list that the person came from, as the query of its address."""
    given = asked.values.get("list", "")
    return asking(_parsed(given), _today()).query


def _parsed(query: str) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(query, max_num_fields=20))
    except ValueError:
        return {}


def _with_list(path: str, asked: Asked, **more: str) -> str:
    values = {"list": _list_query(asked), **more}
    query = urlencode({key: value for key, value in values.items() if value})
    return f"{path}?{query}" if query else path


def _hgb(reader: Reader, reading_sha256: str) -> Mapping[str, float] | None:
    """The haemoglobin of a result with its interval; None where there is none, or where the
    document is gone: its own page says so.
    """
    try:
        interval: Mapping[str, float] | None = light_record(reader, reading_sha256)["sample"][
            "hgb_g_per_l"
        ]
    except RecordsError:
        return None
    return interval


def _note_look(writer: Writer, result: StoredResult, who: str) -> None:
    """Have it in the chain that somebody looked at a result; once for a while of looking."""
    rows = writer.rows(
        "SELECT at FROM audit WHERE subject = ? AND action = 'result viewed' AND actor = ? "
        "ORDER BY number DESC LIMIT 1",
        (result.id, who),
    )
    now = writer.stamp().at
    if rows and abs(now - datetime.fromisoformat(rows[0][0])) < LOOKED_AGAIN:
        return
    writer.note("result viewed", result.id, by=who)


def _candidates(reader: Reader, result: StoredResult) -> tuple[list[Any], list[Any]]:
    """What a result may be held against: those of its sample, then the newest others."""
    same = [
        each
        for each in search(reader, Search(number=result.sample_now), limit=50)
        if each.listed.sample == result.sample_now and each.listed.id != result.id
    ]
    known = {result.id, *(each.listed.id for each in same)}
    others = [each for each in search(reader, Search(), limit=50) if each.listed.id not in known]
    return same, others


def _tab_names(words: Words) -> list[tuple[str, str]]:
    _ = words._
    return [
        ("", _("Result")),
        ("history", _("History")),
        ("fields", _("Fields")),
        ("cells", _("Cells")),
        ("compare", _("Compare")),
    ]


def _sent(words: Words, deliveries: Sequence[Delivery]) -> tuple[Mark, str] | None:
    """Where a result of the list is, and in words; None where it was noted for nobody."""
    mark = delivery_mark(deliveries)
    return None if mark is None else (mark, mark_words(words, mark))


def _not_said(deed: Deed, values: Mapping[str, str], words: Words) -> str:
    """What a form lacks; empty where it says all."""
    if deed == "correct" and values.get("grade") not in GRADES:
        return words._("Touch the grade that it is to have.")
    reason = values.get("reason", "")
    if REASONS[deed] and reason not in REASONS[deed]:
        return words._("Touch the reason.")
    if reason == OTHER and not values.get("words", "").strip():
        return words._("Say why in a few words.")
    return ""


def _change(desk: Desk, result: StoredResult, deed: Deed, asked: Asked) -> None:
    writer, values = desk.kiosk.writer, asked.values
    amendments = None
    if deed == "sign":
        amendments = amendments_from(writer, result.number)
    elif deed == "correct":
        amendments = Amendments(override=Override(grade=values["grade"]))
    change(
        writer,
        result.id,
        result_page.CHANGE_OF[deed],
        by=asked.who.name,
        reason=said_reason(values.get("reason", ""), values.get("words", "")[:200]),
        amendments=amendments,
        hooks=noting(desk.device.receivers),
    )
