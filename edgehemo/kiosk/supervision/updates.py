"""What the laboratory sent for this device, as its supervisor sees it, puts it in use or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgehemo.device.configuration import load_device
from edgehemo.errors import PublicationError
from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.jobs import Job
from edgehemo.kiosk.paging import turned_to
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.steering import is_screening, note_in
from edgehemo.published.packages import open_package
from edgehemo.published.settings import settings_of
from edgehemo.published.state import Published, PublishedStore
from edgehemo.published.terms import FROM_STICK, Kind, Standing
from edgehemo.published.using import Using, put_in_use, refuse
from edgehemo.words.language import NAMES, Words

ROWS_PER_PAGE = 4
_USE = "use"


@dataclass(frozen=True, slots=True)
class Row:
    """One publication. about: what it is and how it stands, briefly. mark: icon of how it stands.
    said: how, in words. english: why, as the program said it. facts: what is known of it, name and
    value.
    """

    sha256: str
    kind: Kind
    title: str
    about: str
    mark: str
    said: str
    waits: bool
    english: str = ""
    facts: Sequence[tuple[str, str]] = ()


class UpdatesArea:
    """Its pages: ``""`` the list and the one of it that is looked at, ``job``."""

    area: Area = "updates"

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """See `AreaPages`."""
        if asked.path == "job":
            return self._job(desk, asked)
        if asked.path:
            return None
        found = [_row(desk, each, asked.words) for each in _newest_first(desk)]
        named = asked.values.get("of", "")
        at = next((n for n, each in enumerate(found) if each.sha256 == named), 0)
        wanted = asked.values.get("page", "") or str(at // ROWS_PER_PAGE)
        page = turned_to(found, wanted, ROWS_PER_PAGE)
        one = next((each for each in page.items if each.sha256 == named), None)
        values = {
            "page": page,
            "one": one or (page.items[0] if page.items else None),
            "busy": is_screening(desk.kiosk.state),
        }
        return Shown("supervision/updates.html.j2", values)

    def _job(self, desk: Desk, asked: Asked) -> Shown:
        job = desk.jobs.of(self.area)
        item = job.result if job is not None and isinstance(job.result, Published) else None
        row = None if item is None else _row(desk, item, asked.words)
        return Shown("supervision/updates_job.html.j2", {"job": job, "one": row})

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """See `AreaPages`."""
        words, sha256 = asked.words, asked.values.get("of", "")
        if asked.path == "done":
            desk.jobs.put_away(self.area)
            return Went()
        item = PublishedStore(desk.device.data_dir).state().of(sha256)
        if asked.path not in (_USE, "refuse"):
            return None
        if item is None or item.standing != "waiting":
            return Went(problem=words._("This cannot be done any more."))
        if asked.path == "refuse":
            refuse(Using(desk.device), sha256, by=asked.who.name)
            return Went(f"?of={sha256}", said=words._("It is not used."))
        if is_screening(desk.kiosk.state):
            return Went(f"?of={sha256}", problem=words._("A sample is read now. Wait for its end."))
        self._begin(desk, sha256, asked.who.name)
        return Went("job")

    def _begin(self, desk: Desk, sha256: str, by: str) -> None:
        def used(job: Job) -> Published:
            job.at(None)
            item = put_in_use(Using(load_device(None)), sha256, by=by)
            desk.kiosk.stored_now(lambda: note_in(desk.kiosk.writer, item, by))
            if item.kind == "settings":
                desk.take_up(load_device(None))
            return item

        desk.jobs.begin(self.area, _USE, used)


def _newest_first(desk: Desk) -> list[Published]:
    """What waits stands first."""
    items = list(reversed(PublishedStore(desk.device.data_dir).state().items))
    return sorted(items, key=lambda each: each.standing != "waiting")


def kind_name(words: Words, kind: Kind) -> str:
    """What it is."""
    _ = words._
    return {
        "bundle": _("Model bundle"),
        "language": _("Words"),
        "settings": _("Settings"),
    }[kind]


def standing_words(words: Words, standing: Standing) -> str:
    """How it stands."""
    _ = words._
    return {
        "offered": _("not here yet"),
        "waiting": _("waits for you"),
        "putting": _("is being put in use"),
        "on trial": _("in use, until the next self-check on trial"),
        "in use": _("in use"),
        "refused": _("not taken"),
        "declined": _("not wanted here"),
        "withdrawn": _("taken back by the laboratory"),
        "fell back": _("left again"),
    }[standing]


def brief_standing(words: Words, standing: Standing) -> str:
    """How it stands, for a row of the list."""
    _ = words._
    brief: dict[Standing, str] = {"on trial": _("on trial"), "withdrawn": _("taken back")}
    return brief.get(standing) or standing_words(words, standing)


_MARKS: dict[Standing, str] = {
    "offered": "wait", "waiting": "soon", "putting": "wait", "on trial": "soon", "in use": "good",
    "refused": "fails", "declined": "unset", "withdrawn": "unset", "fell back": "fails",
}  # fmt: skip


def _row(desk: Desk, item: Published, words: Words) -> Row:
    _ = words._
    languages: dict[str, str] = {str(language): name for language, name in NAMES.items()}
    named = languages.get(item.name, item.name) if item.kind == "language" else item.name
    facts = [
        (_("What"), kind_name(words, item.kind)),
        (_("From"), _("USB stick") if item.origin == FROM_STICK else item.origin),
    ]
    if item.signed_by:
        facts.append((_("Signed by"), item.signed_by.partition(" (")[0]))
    if item.by:
        facts.append((_("By"), item.by))
    if item.kind == "settings" and item.standing == "waiting":
        facts += _settings(desk, item, words)
    return Row(
        sha256=item.sha256,
        kind=item.kind,
        title=f"{named} {item.serial}",
        about=f"{kind_name(words, item.kind)}, {brief_standing(words, item.standing)}",
        mark=_MARKS[item.standing],
        said=standing_words(words, item.standing),
        waits=item.standing == "waiting",
        english=item.words,
        facts=facts,
    )


def _settings(desk: Desk, item: Published, words: Words) -> list[tuple[str, str]]:
    """What would be set; nothing where the file cannot be read any more."""
    try:
        package = open_package(PublishedStore(desk.device.data_dir).file(item.sha256), item.name)
        values = settings_of(package.content, item.name).values
    except PublicationError:
        return []
    return [
        (setting_name(words, section, key), str(value))
        for section, keys in values.items()
        for key, value in keys.items()
    ]


def setting_name(words: Words, section: str, key: str) -> str:
    """What a setting is called; as the file has it where there is no word for it."""
    _ = words._
    return {
        "language": _("Language"),
        "unit": _("Unit of haemoglobin"),
        "altitude_m": _("Altitude of the people, m"),
        "site": _("Site"),
        "theme": _("Light or dark page"),
        "paper": _("Paper"),
        "fields_wanted": _("Fields of a sample"),
        "calibration_expires_days": _("A calibration counts for, days"),
        "control_expires_hours": _("A control slide counts for, hours"),
        "backup_every_hours": _("A backup is due after, hours"),
        "warn_below_mb": _("Warns when less is free, MB"),
        "withheld": _("Sent without a result"),
        "identified": _("Names are sent"),
        "pictures": _("Pictures are sent"),
        "simulated": _("Simulated results are sent"),
        "timeout_s": _("Waits for an answer, seconds"),
    }.get(key, f"{section}.{key}")
