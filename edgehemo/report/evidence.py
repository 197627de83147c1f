"""What a result stands on: fields, cells, sizes, types, quality, provenance, method and limits."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgehemo.cells.shares import explained_by_others
from edgehemo.guidance.catalogue import catalogue
from edgehemo.measurands import MEASURAND_FACTS
from edgehemo.report.asked_cells import cells_shown
from edgehemo.report.first_page import interval_text, moment_of
from edgehemo.report.histogram import NORMAL_HIGH_UM, NORMAL_LOW_UM, Histogram
from edgehemo.report.pictures import Picture
from edgehemo.report.quality_words import check_name, quantity_name, unit_of
from edgehemo.report.standing import Standing
from edgehemo.report.told import advised, sentence, told
from edgehemo.report.verdict import grade_name
from edgehemo.report.view import (
    Block,
    Cells,
    CellShown,
    Fact,
    Facts,
    Fields,
    FieldShown,
    Listing,
    Note,
    Section,
    Sizes,
    Table,
)
from edgehemo.words.cell_names import cell_name
from edgehemo.words.language import Words

# Cells of the gallery: more than a person will look at on paper.
MOST_CELLS = 60
# Refused fields whose failed values are listed.
MOST_REFUSED = 40


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of a result: drawn fields by their place, single cells by field and place."""

    fields: Mapping[int, Picture] = field(default_factory=dict)
    cells: Mapping[tuple[int, int], Picture] = field(default_factory=dict)


def sections(
    record: Mapping[str, Any],
    words: Words,
    pictures: Pictures,
    sizes: Histogram | None,
    standing: Standing | None,
) -> tuple[Section, ...]:
    """The parts in the order in which a doubtful reader asks for them; empty ones are left out."""
    made = (
        _fields(record, words, pictures),
        _cells(record, words, pictures, standing),
        _counts(record, words),
        _sizes(record, words, sizes),
        _types(record, words),
        _measures(record, words),
        _quality(record, words),
        _refused(record, words),
        _unreadable(record, words),
        _versions(words, standing),
        _provenance(record, words, standing),
        _method(record, words),
    )
    return tuple(part for part in made if part is not None)


def _read(record: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """The images that could be read, with their places."""
    return [(n, image) for n, image in enumerate(record["images"]) if "error" not in image]


def _fields(record: Mapping[str, Any], words: Words, pictures: Pictures) -> Section | None:
    _ = words._
    read = _read(record)
    shown = tuple(
        _field(place, image, pictures.fields[place], words)
        for place, image in read
        if place in pictures.fields
    )
    if not shown:
        return None
    key = (
        ("rbc", _("red cell")),
        ("wbc", _("white cell")),
        ("platelet", _("platelet")),
        ("refused", _("field refused: nothing was measured in it")),
    )
    blocks: list[Block] = [Fields(key, shown)]
    more = len(read) - len(shown)
    if more:
        said = words.n_("{n} more field is not shown.", "{n} more fields are not shown.", more)
        blocks.append(Note(said, soft=True))
    return Section(_("Fields"), tuple(blocks))


def _field(place: int, image: Mapping[str, Any], picture: Picture, words: Words) -> FieldShown:
    _ = words._
    lines: list[str] = []
    counts = image["counts"]
    verdict = _("accepted") if image["accepted"] else _("refused")
    if image["accepted"] and counts is None:
        lines.append(_("Nothing measured: the sample has no result."))
    elif image["accepted"]:
        lines.append(
            _(
                "Red cells {red}, white cells {white}, platelets {platelets}",
                red=words.number(counts["rbc"]),
                white=words.number(counts["wbc"]),
                platelets=words.number(counts["platelet"]),
            )
        )
    else:
        lines.append(_faults(image, "fail", words))
    warned = _faults(image, "warn", words)
    if warned:
        lines.append(_("Note: {faults}", faults=warned))
    number = words.number(place + 1)
    return FieldShown(
        picture=picture,
        number=number,
        name=image["image"],
        accepted=image["accepted"],
        verdict=verdict,
        lines=tuple(lines),
        said=_("Field {n}, {verdict}", n=number, verdict=verdict),
    )


def _faults(image: Mapping[str, Any], verdict: str, words: Words) -> str:
    """The first fault in the order an operator should deal with them; the others by name."""
    found = [check for check in image["checks"] if check["verdict"] == verdict]
    titles = list(
        dict.fromkeys(
            words.title(check["code"]) if check["code"] in catalogue() else check["name"]
            for check in found
        )
    )
    if not titles:
        return ""
    also = "" if len(titles) == 1 else f" {words._('Also:')} {', '.join(titles[1:])}."
    return f"{titles[0]}. {advised(words, found[0]['action'])}{also}"


def _cells(
    record: Mapping[str, Any], words: Words, pictures: Pictures, standing: Standing | None
) -> Section | None:
    _ = words._
    named = {} if standing is None else standing.cells
    shown: list[CellShown] = []
    for cell in cells_shown(record, named):
        picture = pictures.cells.get((cell.field, cell.cell))
        if picture is None or len(shown) == MOST_CELLS:
            continue
        by_person = (cell.field, cell.cell) in named
        name = cell_name(words, named.get((cell.field, cell.cell), cell.type))
        place = f"{words.number(cell.field + 1)}.{cell.cell + 1}"
        shown.append(
            CellShown(
                picture, place, name, by_person, _("Cell {place}: {name}", place=place, name=name)
            )
        )
    if not shown:
        return None
    blocks: list[Block] = [
        Note(
            _(
                "Cells of the findings, cells that a person named, and cells without a name. The "
                "number is field.cell. A name marked with ✓ was given by a person, the others by "
                "the program."
            ),
            soft=True,
        ),
        Cells(tuple(shown)),
    ]
    return Section(_("Cells to look at"), tuple(blocks))


def _counts(record: Mapping[str, Any], words: Words) -> Section:
    _ = words._
    sample = record["sample"]
    rows = [
        Fact(_("Images given"), words.number(sample["images"])),
        Fact(_("Fields accepted"), words.number(sample["accepted"])),
        Fact(_("Fields refused"), words.number(sample["refused"])),
    ]
    if sample["unreadable"]:
        rows.append(Fact(_("Unreadable"), words.number(sample["unreadable"])))
    stopped = {
        "source_ended": _("all images were read"),
        "accepted_fields": _("as many fields were accepted as asked for"),
        "counting_error": _("enough cells were counted"),
        "examined_fields": _("the limit of fields to look at was reached"),
    }
    rows.append(Fact(_("Stopped when"), stopped[sample["stopped_by"]]))
    for kind, label in (
        ("rbc", _("Red cells")),
        ("wbc", _("White cells")),
        ("platelet", _("Platelets")),
    ):
        count = sample["counts"][kind]
        low, high = words.number(count["low"]), words.number(count["high"])
        said = f"{words.number(count['value'])} ({interval_text(words, low, high)})"
        rows.append(Fact(label, said))
    about = _(
        "Counted are cells of accepted fields whose centre lies away from the border. In brackets "
        "the 95 % interval: chance and the finder's own error together."
    )
    return Section(_("What was seen"), (Facts(tuple(rows)), Note(about, soft=True)), together=True)


def _sizes(record: Mapping[str, Any], words: Words, sizes: Histogram | None) -> Section | None:
    if sizes is None or record["withheld"] is not None:
        return None
    _ = words._
    said = _(
        "{n} single red cells: median diameter {median} µm, half of them between {low} and {high} "
        "µm. Usual on a dried smear: {usual_low} to {usual_high} µm.",
        n=words.number(sizes.cells),
        median=words.number(sizes.median_um, 1),
        low=words.number(sizes.low_quartile_um, 1),
        high=words.number(sizes.high_quartile_um, 1),
        usual_low=words.number(NORMAL_LOW_UM, 1),
        usual_high=words.number(NORMAL_HIGH_UM, 1),
    )
    blocks: list[Block] = [
        Sizes(
            sizes,
            axis=_("diameter of a circle of the cell's area, µm"),
            cells=_("cells"),
            usual=_("usual"),
            said=said,
        ),
        Note(said),
    ]
    if any(
        image["scale_source"] == "red_cells" for __, image in _read(record) if image["accepted"]
    ):
        blocks.append(
            Note(
                _(
                    "The scale was estimated from the red cells themselves: their true mean size "
                    "cannot be seen here, only their spread."
                ),
                soft=True,
            )
        )
    return Section(_("Sizes of red cells"), tuple(blocks), together=True)


def _types(record: Mapping[str, Any], words: Words) -> Section | None:
    types = record["sample"]["types"]
    if types is None:
        return None
    _ = words._
    blocks: list[Block] = []
    if types["red_cells"] is None:
        blocks.append(
            Note(
                _(
                    "Red cells: no shares are given. {why}",
                    why=told(words, types["red_cells_reason"]),
                )
            )
        )
    else:
        shares = sorted(types["red_cells"], key=lambda item: -item["share"])
        cells = sum(share["named"] for share in shares) + types["red_cells_uncertain"]
        absent = {
            share["type"]
            for share in shares
            if explained_by_others(share["named"], share["share"], cells)
        }
        rows = [_share_row(share, words, may_be_absent=share["type"] in absent) for share in shares]
        header = (_("Red cells"), _("Share"), _("95 % interval"), _("Named"))
        blocks.append(Table(header, tuple(rows), numbers=(1, 2, 3)))
        if absent:
            blocks.append(
                Note(
                    _(
                        "* As many cells as bear this name would bear it if there were none, for "
                        "other types are mistaken for it."
                    ),
                    soft=True,
                )
            )
        blocks.append(
            Note(
                _(
                    "Red cells that no one type fits: {n}.",
                    n=words.number(types["red_cells_uncertain"]),
                )
                + " "
                + _(
                    "The shares are corrected by how often the model mistakes one type for another."
                )
                + " "
                + _("Their intervals hold that this differs from slide to slide."),
                soft=True,
            )
        )
    if types["white_cells"] is None:
        blocks.append(
            Note(
                _(
                    "White cells: no types are given. {why}",
                    why=told(words, types["white_cells_reason"]),
                )
            )
        )
    else:
        seen = [
            (
                cell_name(words, name),
                words.number(count["value"]),
                interval_text(words, words.number(count["low"], 1), words.number(count["high"], 1)),
            )
            for name, count in types["white_cells"].items()
            if count["value"]
        ]
        if seen:
            heads = (_("White cells"), _("Counted"), _("95 % interval"))
            blocks.append(Table(heads, tuple(seen), numbers=(1, 2)))
        else:
            blocks.append(Note(_("White cells: none was named.")))
    return Section(_("Types of cells"), tuple(blocks))


def _share_row(
    share: Mapping[str, Any], words: Words, *, may_be_absent: bool
) -> tuple[str, str, str, str]:
    """A type's share of the red cells. may_be_absent: its names are mostly other types' that were
    mistaken for it, so that only the most it can be is said.
    """
    name, named = cell_name(words, share["type"]), words.number(share["named"])
    high = words.percent(share["high"], 1)
    if may_be_absent:
        return name, words._("at most {share}", share=high), "", f"{named} *"
    interval = interval_text(words, words.percent(share["low"], 1), high)
    return name, words.percent(share["share"], 1), interval, named


def _measures(record: Mapping[str, Any], words: Words) -> Section | None:
    """Indices: what the fields show without a calibration."""
    _ = words._
    indices, screen = record["sample"]["indices"], record["anaemia_screen"]
    blocks: list[Block] = []
    if indices is not None:
        meaning = {
            "hgb_index": _("mean green optical density of the fields"),
            "hct_index": _("share of the fields covered by cells"),
            "rbc_index": _("red cells per mm² of smear"),
        }
        intervals = {
            "hgb_index": "field_od_green", "hct_index": "cell_cover", "rbc_index": "rbc_per_mm2",
        }  # fmt: skip
        rows = []
        for key, facts in MEASURAND_FACTS.items():
            value = indices[facts.index]
            if value is None:
                continue
            given = indices["intervals"].get(intervals[facts.index])
            between = (
                "–"
                if given is None
                else interval_text(
                    words, words.significant(given["low"]), words.significant(given["high"])
                )
            )
            name = quantity_name(words, key)
            rows.append((name, meaning[facts.index], words.significant(value), between))
        header = (_("Index for"), _("What it is"), _("Value"), _("95 % between fields"))
        blocks.append(Table(header, tuple(rows), numbers=(2, 3)))
        blocks.append(
            Note(_("An index has no unit of concentration and is not a result."), soft=True)
        )
    if screen is not None:
        look = {
            "anaemia-like": _("like fields of people with anaemia"),
            "control-like": _("like fields of people without anaemia"),
            "uncertain": _("between the two"),
        }
        kind = str(screen["class"])
        blocks.append(
            Note(
                _(
                    "By their look the fields are {kind} (score {score}, {fields}). This is a "
                    "research aid and no grade.",
                    kind=look.get(kind, kind),
                    score=words.number(screen["score"], 2),
                    fields=words.n_("{n} field", "{n} fields", screen["fields"]),
                )
            )
        )
    return Section(_("Measures without calibration"), tuple(blocks)) if blocks else None


def _quality(record: Mapping[str, Any], words: Words) -> Section | None:
    """Each check over the fields: its limit, and the range of what was measured."""
    _ = words._
    read = [image for _place, image in _read(record)]
    if not read:
        return None
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for image in read:
        for check in image["checks"]:
            by_name.setdefault(check["name"], []).append(check)
    rows = tuple(_quality_row(name, found, words) for name, found in by_name.items())
    header = (
        _("Check"), _("Limit"), _("Unit"), _("Median"), _("Lowest to highest"), _("Failed"),
        _("Close"),
    )  # fmt: skip
    about = _(
        "Over all fields that could be read. Failed: fields that were refused for it. Close: "
        "fields that came near the limit and were accepted."
    )
    return Section(
        _("Quality of the fields"),
        (Table(header, rows, numbers=(3, 4, 5, 6)), Note(about, soft=True)),
    )


def _quality_row(name: str, found: Sequence[Mapping[str, Any]], words: Words) -> tuple[str, ...]:
    values = [check["value"] for check in found if check["value"] is not None]
    failed = sum(check["verdict"] == "fail" for check in found)
    close = sum(check["verdict"] == "warn" for check in found)
    middle, reach = "–", "–"
    if values:
        middle = words.significant(statistics.median(values))
        reach = interval_text(words, words.significant(min(values)), words.significant(max(values)))
    return (
        check_name(words, name),
        _limits(found, words) or "–",
        unit_of(words, name),
        middle,
        reach,
        words.number(failed) if failed else "–",
        words.number(close) if close else "–",
    )


def _limits(found: Sequence[Mapping[str, Any]], words: Words) -> str:
    """The limit of a check over all fields; where each field has its own, their range."""
    sides: dict[bool | None, list[float]] = {}
    for check in found:
        if check["limit"] is not None:
            sides.setdefault(_is_least(check), []).append(check["limit"])
    return "; ".join(
        _sided(side, min(limits), max(limits), words)
        for side, limits in sides.items()
        if side is not None or len(sides) == 1
    )


def _is_least(check: Mapping[str, Any]) -> bool | None:
    """Whether a value must be at least its limit: on that side lies what passes. None where the
    value does not tell.
    """
    value, limit = check["value"], check["limit"]
    if value is None or value == limit:
        return None
    return bool((value > limit) == (check["verdict"] == "pass"))


def _sided(is_least: bool | None, low: float, high: float, words: Words) -> str:
    said = (
        words.plain(low)
        if low == high
        else interval_text(words, words.plain(low), words.plain(high))
    )
    if is_least is None:
        return said
    if is_least:
        return words._("at least {limit}", limit=said)
    return words._("at most {limit}", limit=said)


def _limit(check: Mapping[str, Any], words: Words) -> str:
    """The limit of one check of one field."""
    limit = check["limit"]
    return "" if limit is None else _sided(_is_least(check), limit, limit, words)


def _refused(record: Mapping[str, Any], words: Words) -> Section | None:
    """Of each refused field what failed, with its value and limit."""
    _ = words._
    rows = []
    for place, image in _read(record):
        for check in image["checks"]:
            if check["verdict"] != "fail":
                continue
            rows.append(
                (
                    words.number(place + 1),
                    image["image"],
                    check_name(words, check["name"]),
                    words.significant(check["value"]),
                    _limit(check, words) or "–",
                    unit_of(words, check["name"]),
                )
            )
    if not rows:
        return None
    header = (_("Field"), _("Picture"), _("Check"), _("Value"), _("Limit"), _("Unit"))
    blocks: list[Block] = [Table(header, tuple(rows[:MOST_REFUSED]), numbers=(3,))]
    if len(rows) > MOST_REFUSED:
        more = len(rows) - MOST_REFUSED
        blocks.append(Note(words.n_("{n} more is not listed.", "{n} more are not listed.", more)))
    return Section(_("Why fields were refused"), tuple(blocks))


def _unreadable(record: Mapping[str, Any], words: Words) -> Section | None:
    _ = words._
    rows = tuple(
        (image["image"], sentence(image["error"])) for image in record["images"] if "error" in image
    )
    if not rows:
        return None
    return Section(_("Inputs that could not be read"), (Table((_("Input"), _("Why")), rows),))


def _versions(words: Words, standing: Standing | None) -> Section | None:
    if standing is None:
        return None
    _ = words._
    changes = {
        "recorded": _("stored"),
        "signed": _("signed"),
        "corrected": _("corrected"),
        "held": _("held"),
        "released": _("released"),
        "withdrawn": _("withdrawn"),
    }
    rows = tuple(
        (
            words.number(version.version),
            changes[version.change],
            version.by,
            moment_of(version, words),
            version.reason,
        )
        for version in standing.versions
    )
    header = (_("Version"), _("What happened"), _("By"), _("When"), _("Why"))
    return Section(_("Versions of this result"), (Table(header, rows),))


def _provenance(record: Mapping[str, Any], words: Words, standing: Standing | None) -> Section:
    _ = words._
    provenance, sample = record["provenance"], record["sample"]
    profile = provenance["profile"]
    rows = [
        Fact(
            _("Software"),
            f"{provenance['software']['name']} {provenance['software']['version']}",
        ),
        Fact(_("Model bundle"), provenance["bundle"]["name"]),
        Fact(_("Digest of the bundle"), provenance["bundle"]["sha256"], code=True),
        Fact(
            _("Calibration profile"),
            _("none: not calibrated") if profile is None else profile["name"],
        ),
    ]
    if profile is not None:
        rows.append(Fact(_("Digest of the profile"), profile["sha256"], code=True))
    for key, estimator in sample["estimators"].items():
        facts = MEASURAND_FACTS.get(key)
        rows.append(
            Fact(
                _("Estimator of {name}", name=key if facts is None else facts.name),
                estimator,
                code=True,
            )
        )
    rows.append(Fact(_("Scale"), _scale((image for __, image in _read(record)), words)))
    return Section(_("Where it comes from"), (Facts(tuple(rows)),), together=True)


def _scale(images: Iterable[Mapping[str, Any]], words: Words) -> str:
    _ = words._
    sources = {
        "profile": _("from the calibration profile"),
        "given": _("given by the operator"),
        "red_cells": _("estimated from the red cells' own size"),
        "assumed": _("assumed, as no cell could be measured"),
    }
    entries = list(images)
    if not entries:
        return _("none: no field was read")
    scales = [image["um_per_px"] for image in entries]
    known = dict.fromkeys(sources[image["scale_source"]] for image in entries)
    low, high = words.number(min(scales), 3), words.number(max(scales), 3)
    figures = low if low == high else interval_text(words, low, high)
    return f"{figures} µm/px, {'; '.join(known)}"


def _method(record: Mapping[str, Any], words: Words) -> Section:
    _ = words._
    lines = [
        _(
            "The program finds and counts cells in pictures of a stained smear, and estimates "
            "haemoglobin, haematocrit and red cells from colour and cover. It is no blood analyser."
        ),
        _(
            "A concentration is given only through a calibration of this microscope against an "
            "analyser, with its 95 % prediction interval. Without one there is none."
        ),
        _(
            "A field that fails a check gives no number. A cell that cannot be told stays without "
            "a name until a person names it."
        ),
        _(
            "Types of cells were learnt on other microscopes. Where cells look unlike those, names "
            "are withheld; the model card says what was tested."
        ),
    ]
    anaemia = record["anaemia"]
    if anaemia is not None:
        lines.append(
            _(
                "Grade: {grade}, by {source}",
                grade=grade_name(words, anaemia["grade"]),
                source=anaemia["source"],
            )
        )
    blocks: list[Block] = [Listing(tuple(lines))]
    notes = tuple(sentence(note) for note in record["sample"]["notes"])
    if notes:
        blocks.append(Listing(notes))
    return Section(_("Method and limits"), tuple(blocks), together=True)
