"""The engineer's page of the camera: its picture, its settings, the screen and the site."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from edgehemo.capture.protocol import SETTING_RANGES, CameraSettings
from edgehemo.device.cameras_found import cameras_found
from edgehemo.device.changing import change_device
from edgehemo.device.configuration import ALTITUDE_RANGE_M, Theme
from edgehemo.device.machine import Machine, this_machine
from edgehemo.device.toml_editing import Changes, Value
from edgehemo.errors import DeviceError
from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.engineering.job_view import why_not_kept
from edgehemo.kiosk.engineering.levels_view import levels_view
from edgehemo.kiosk.engineering.own_settings import own_settings
from edgehemo.kiosk.engineering.settings_view import (
    STEPS,
    setting_name,
    setting_rows,
    stepped,
    typed_number,
    with_partner,
)
from edgehemo.kiosk.paging import turned_to
from edgehemo.kiosk.screens import Area
from edgehemo.words.language import NAMES, Unit, Words, offered

# The line on the screen that a ruler is held to, and how far a touch changes it.
LINE_MM, PX_PER_MM_STEP = 50, 0.05
PX_PER_MM_RANGE = (2.0, 30.0)
CAMERAS_PER_PAGE = 5


@dataclass(slots=True)
class _Trial:
    """What is tried on the camera and not kept. before: what it was set to before."""

    settings: CameraSettings = field(default_factory=CameraSettings)
    before: CameraSettings = field(default_factory=CameraSettings)


class EquipmentArea:
    """Its pages: the live picture (the first), ``settings``, ``value``, ``cameras``, ``screen``,
    ``site``.
    """

    area: Area = "equipment"

    def __init__(self, machine: Machine | None = None) -> None:
        self._machine = machine
        self._trial = _Trial()

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """See `AreaPages`."""
        if asked.path in ("", "settings", "value"):
            return self._camera(desk, asked)
        if asked.path == "cameras":
            return self._cameras(desk, asked)
        if asked.path == "screen":
            return self._screen(desk, asked)
        if asked.path == "site":
            kiosk = desk.device.kiosk
            values = {
                "site": kiosk,
                "known_languages": [(code, NAMES[code]) for code in offered()],
                "units": get_args(Unit),
                "themes": theme_names(asked.words),
            }
            return Shown("engineering/site.html.j2", values)
        return None

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """See `AreaPages`."""
        does = {
            "try": self._try,
            "type": self._type,
            "keep": self._keep,
            "before": self._before,
            "choose": self._choose,
            "screen/keep": self._keep_screen,
            "site/keep": self._keep_site,
        }.get(asked.path)
        return None if does is None else does(desk, asked)

    # -- the picture and its settings -------------------------------------------------------------

    def _base(self, desk: Desk) -> CameraSettings:
        return own_settings(desk.kiosk.look.source, desk.device)

    def _now(self, desk: Desk) -> CameraSettings:
        """What the camera has, or is being given."""
        look = desk.kiosk.look
        return look.seen.settings.overlaid(self._base(desk)).overlaid(self._trial.settings)

    def _camera(self, desk: Desk, asked: Asked) -> Shown | None:
        look, tried = desk.kiosk.look, self._trial.settings
        look.show(with_partner(self._base(desk).overlaid(tried), look.seen.settings))
        seen = look.seen
        refused = None
        if seen.problem is not None:
            code, line = seen.problem
            refused = (asked.words.guidance(code).title, line)
        known = self._now(desk) if seen.levels else CameraSettings()
        rows = setting_rows(known, tried, asked.words)
        values = {
            "rows": rows,
            "levels": levels_view(seen.levels, asked.words),
            "refused": refused,
            "camera_name": look.source,
            "is_trial": tried != CameraSettings(),
        }
        if asked.path != "value":
            page = "settings" if asked.path else "camera"
            return Shown(f"engineering/{page}.html.j2", values)
        name = asked.values.get("name", "")
        row = next((each for each in rows if each.name == name), None)
        return None if row is None else Shown("engineering/value.html.j2", {"row": row})

    def _try(self, desk: Desk, asked: Asked) -> Went | None:
        name, way = asked.values.get("name", ""), asked.values.get("way", "")
        value = self._now(desk).given().get(name)
        if name not in STEPS or way not in ("up", "down"):
            return None
        if value is None:
            return Went("settings", problem=asked.words._("The camera does not have this setting."))
        return self._set(desk, name, stepped(name, value, way == "up"))

    def _type(self, desk: Desk, asked: Asked) -> Went | None:
        name = asked.values.get("name", "")
        if name not in STEPS:
            return None
        value = typed_number(asked.values.get("value", ""))
        low, high = SETTING_RANGES[name]
        if value is None or not low <= value <= high:
            words = asked.words
            said = words._(
                "{name} lies between {low} and {high}.",
                name=setting_name(words, name),
                low=words.number(low, STEPS[name].decimals),
                high=words.number(high, STEPS[name].decimals),
            )
            return Went(f"value?name={name}", problem=said)
        return self._set(desk, name, value)

    def _set(self, desk: Desk, name: str, value: float) -> Went:
        look = desk.kiosk.look
        if self._trial.settings == CameraSettings():
            self._trial.before = self._now(desk)
        tried = self._trial.settings.overlaid(CameraSettings(**{name: value}))
        self._trial.settings = with_partner(tried, self._now(desk))
        look.show(with_partner(self._base(desk).overlaid(self._trial.settings), look.seen.settings))
        return Went("settings")

    def _keep(self, desk: Desk, asked: Asked) -> Went:
        """Keep what is tried, as the camera took it."""
        seen = desk.kiosk.look.seen
        if seen.problem is not None:
            return Went(
                "settings", problem=asked.words._("The camera refused it: nothing is kept.")
            )
        tried = self._trial.settings.given()
        taken = seen.settings.given()
        values: dict[str, Value] = {name: taken.get(name, tried[name]) for name in tried}
        if not values:
            return Went("settings")
        went = self._change(desk, asked, {"camera": values}, "settings")
        if not went.problem:
            self._trial = _Trial()
        return went

    def _before(self, desk: Desk, asked: Asked) -> Went:
        before, self._trial = self._trial.before, _Trial()
        desk.kiosk.look.show(before)
        return Went("settings", said=asked.words._("As before."))

    def _change(self, desk: Desk, asked: Asked, changes: Changes, path: str) -> Went:
        """Write the configuration, have it in the chain, and go by it."""
        try:
            device = change_device(changes)
        except DeviceError as error:
            return Went(path, problem=why_not_kept(error, asked.words))
        desk.kiosk.writer.note("configuration changed", details=dict(changes), by=asked.who.name)
        desk.take_up(device)
        return Went(path, said=asked.words._("Kept."))

    # -- which camera -----------------------------------------------------------------------------

    def _cameras(self, desk: Desk, asked: Asked) -> Shown:
        machine = this_machine() if self._machine is None else self._machine
        found = cameras_found(machine)
        page = turned_to(found, asked.values.get("page", ""), CAMERAS_PER_PAGE)
        values = {
            "page": page,
            "used": desk.kiosk.look.source,
        }
        return Shown("engineering/cameras.html.j2", values)

    def _choose(self, desk: Desk, asked: Asked) -> Went:
        source = asked.values.get("source", "")
        machine = this_machine() if self._machine is None else self._machine
        if source not in {each.source for each in cameras_found(machine)}:
            return Went("cameras", problem=asked.words._("This camera is not there any more."))
        samples = desk.kiosk.state.samples
        if any(each.step == "capture" and not each.practice for each in samples):
            said = asked.words._(
                "A sample waits with fields of this camera. Finish it or give it up first."
            )
            return Went("cameras", problem=said)
        went = self._change(desk, asked, {"camera": {"source": source}}, "cameras")
        if went.problem:
            return went
        desk.use_camera(source)
        self._trial = _Trial()
        return Went(
            "cameras",
            said=asked.words._(
                "The kiosk uses it from now on. Look at its picture and its profile."
            ),
        )

    # -- the screen and the site ------------------------------------------------------------------

    def _screen(self, desk: Desk, asked: Asked) -> Shown:
        low, high = PX_PER_MM_RANGE
        asked_px = typed_number(asked.values.get("px", ""))
        px = desk.device.kiosk.px_per_mm if asked_px is None else asked_px
        px = round(min(high, max(low, px)), 2)
        values = {
            "px": px,
            "length_px": round(px * LINE_MM, 1),
            "line_mm": LINE_MM,
            "less": f"{max(low, px - PX_PER_MM_STEP):.2f}",
            "more": f"{min(high, px + PX_PER_MM_STEP):.2f}",
            "is_kept": abs(px - desk.device.kiosk.px_per_mm) < PX_PER_MM_STEP / 2,
        }
        return Shown("engineering/screen.html.j2", values)

    def _keep_screen(self, desk: Desk, asked: Asked) -> Went:
        px = typed_number(asked.values.get("px", ""))
        if px is None:
            return Went("screen")
        return self._change(desk, asked, {"kiosk": {"px_per_mm": px}}, "screen")

    def _keep_site(self, desk: Desk, asked: Asked) -> Went:
        altitude_m = typed_number(asked.values.get("altitude_m", ""))
        low, high = ALTITUDE_RANGE_M
        if altitude_m is None or not low <= altitude_m < high:
            said = asked.words._(
                "The altitude is a number of metres, from {low} to {high}.",
                low=asked.words.number(low),
                high=asked.words.number(high - 1),
            )
            return Went("site", problem=said)
        site = asked.values.get("site", "").strip()
        values: dict[str, Value] = {
            "altitude_m": altitude_m,
            "site": site or None,
            **{
                key: asked.values.get(key, "")
                for key in ("language", "unit", "theme")
                if asked.values.get(key, "")
            },
        }
        return self._change(desk, asked, {"kiosk": values}, "site")


def theme_names(words: Words) -> list[tuple[Theme, str]]:
    """What the looks of the page are called."""
    _ = words._
    return [("light", _("Bright room")), ("dark", _("Dark room"))]
