"""The engineer's page of profiles and bundles: which are in force, put in, taken back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from edgehemo.bundle.bundle import Bundle, load_bundle
from edgehemo.device.artefacts_on_sticks import OnStick, artefacts_on
from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.device.equipment import open_bundle
from edgehemo.device.installed_bundles import BundleStore, check_whole
from edgehemo.device.profile_store import (
    KeptProfile,
    install_profile,
    kept_profiles,
    roll_back_profile,
    use_profile,
)
from edgehemo.device.readiness import refuse_another_camera, refuse_simulated_profile
from edgehemo.device.sticks import sticks
from edgehemo.errors import (
    BundleError,
    DeviceError,
    EdgeHemoError,
    ProfileError,
    PublicationError,
    UsageError,
)
from edgehemo.inference.verification import verify_artefacts
from edgehemo.kiosk.area import Asked, Desk, Sent, Shown, Went
from edgehemo.kiosk.engineering.bundle_view import BundleView, installed_view, shipped_view
from edgehemo.kiosk.engineering.job_view import Trouble, is_running, trouble_of, why_not_kept
from edgehemo.kiosk.engineering.profile_view import ProfileView, profile_view
from edgehemo.kiosk.jobs import Job
from edgehemo.kiosk.paging import turned_to
from edgehemo.kiosk.profile_of import profile_path
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.steering import note_in
from edgehemo.profile.profile import load_profile
from edgehemo.published.brought import leave_report
from edgehemo.published.using import Using, use_from_stick
from edgehemo.words.language import Words

log = logging.getLogger(__name__)

_INSTALL, _CHECK = "install", "verify"
ROWS_PER_PAGE = 4


class ArtefactsArea:
    """Its pages: what is in force (the first), ``profiles``, ``bundles``, ``stick``, ``job``,
    ``refused``.
    """

    area: Area = "artefacts"

    def __init__(self) -> None:
        self._refused: tuple[Trouble, str] | None = None

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """See `AreaPages`."""
        shows = {
            "": self._overview,
            "profiles": self._profiles,
            "bundles": self._bundles,
            "stick": self._stick,
            "job": self._job,
            "refused": self._why_refused,
        }.get(asked.path)
        return None if shows is None else shows(desk, asked)

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """See `AreaPages`."""
        does = {
            "use": self._use,
            "back": self._profile_back,
            "bundle/back": self._bundle_back,
            "bundle/check": self._check,
            "install": self._install,
            "put_away": self._put_away,
        }.get(asked.path)
        return None if does is None else does(desk, asked)

    # -- what there is ----------------------------------------------------------------------------

    def _overview(self, desk: Desk, asked: Asked) -> Shown:
        now, words = datetime.now().astimezone(), asked.words
        path = profile_path(desk.kiosk.look.source, desk.device)
        profile = None
        if path is not None:
            found = [each for each in kept_profiles(desk.device) if each.path == path]
            kept = found[0] if found else _kept_at(path)
            profile = profile_view(kept, desk.device, words, now)
        bundles = _bundle_views(desk.device, words)
        values = {"profile": profile, "bundle": next((b for b in bundles if b.in_use), bundles[-1])}
        return Shown("engineering/artefacts.html.j2", values)

    def _profiles(self, desk: Desk, asked: Asked) -> Shown:
        now = datetime.now().astimezone()
        found = [
            profile_view(kept, desk.device, asked.words, now) for kept in kept_profiles(desk.device)
        ]
        return Shown("engineering/profiles.html.j2", _list_and_one(found, asked, _profile_key))

    def _bundles(self, desk: Desk, asked: Asked) -> Shown:
        found = _bundle_views(desk.device, asked.words)
        values = _list_and_one(found, asked, _bundle_key)
        state = BundleStore(desk.device.data_dir).state()
        return Shown("engineering/bundles.html.j2", {**values, "goes_back": state.previous})

    def _stick(self, desk: Desk, asked: Asked) -> Shown:
        there = sticks(desk.device)
        page = turned_to(artefacts_on(there), asked.values.get("page", ""), ROWS_PER_PAGE)
        return Shown("engineering/stick.html.j2", {"page": page, "there": there})

    def _job(self, desk: Desk, asked: Asked) -> Shown:
        job = desk.jobs.of(self.area)
        trouble = None if job is None or job.error is None else trouble_of(job.error, asked.words)
        bundle = None
        if job is not None and isinstance(job.result, Bundle):
            bundle = shipped_view(job.result, False, asked.words)
        values = {"job": job, "trouble": trouble, "bundle": bundle}
        return Shown("engineering/artefact_job.html.j2", values)

    def _why_refused(self, desk: Desk, asked: Asked) -> Shown | None:
        if self._refused is None:
            return None
        trouble, back_to = self._refused
        return Shown("engineering/refused.html.j2", {"trouble": trouble, "back_to": back_to})

    # -- what is done -----------------------------------------------------------------------------

    def _refuse(self, error: EdgeHemoError, back_to: str, words: Words) -> Went:
        self._refused = (trouble_of(error, words), back_to)
        return Went("refused")

    def _kept(self, desk: Desk, name: str) -> KeptProfile | None:
        return next((each for each in kept_profiles(desk.device) if each.path.name == name), None)

    def _use(self, desk: Desk, asked: Asked) -> Went:
        """Put a profile into force; one of another camera is refused."""
        words = asked.words
        kept = self._kept(desk, asked.values.get("name", ""))
        if kept is None or kept.profile is None:
            return Went("profiles", problem=words._("This profile is not there any more."))
        source = desk.kiosk.look.source
        if not source.startswith("simulated:"):
            name = kept.path.name
            try:
                refuse_simulated_profile(kept.profile, name, [source])
                refuse_another_camera(kept.profile, name, [source], desk.device)
            except (UsageError, ProfileError) as error:
                return self._refuse(ProfileError(str(error)), "profiles", words)
        try:
            device = use_profile(kept.path)
        except ProfileError as error:
            return self._refuse(error, "profiles", words)
        except DeviceError as error:
            return Went("profiles", problem=why_not_kept(error, words))
        said = {"put into force": kept.path.name, "sha256": kept.profile.digest()}
        desk.kiosk.writer.note("profile changed", details=said, by=asked.who.name)
        desk.take_up(device)
        return Went("profiles", said=words._("In force from the next self-check on."))

    def _profile_back(self, desk: Desk, asked: Asked) -> Went:
        words = asked.words
        kept = self._kept(desk, asked.values.get("name", ""))
        if kept is None:
            return Went("profiles", problem=words._("This profile is not there any more."))
        try:
            profile = roll_back_profile(kept.path)
        except ProfileError as error:
            return self._refuse(error, "profiles", words)
        said = {"rolled back": kept.path.name, "revision": profile.revision}
        details = {**said, "sha256": profile.digest()}
        desk.kiosk.writer.note("profile changed", details=details, by=asked.who.name)
        return Went("profiles", said=words._("The profile from before is back."))

    def _bundle_back(self, desk: Desk, asked: Asked) -> Went:
        try:
            bundle = BundleStore(desk.device.data_dir).rollback()
        except BundleError as error:
            return self._refuse(error, "bundles", asked.words)
        _note_bundle(desk, bundle, "rolled back", asked.who.name)
        said = asked.words._("In force from the next self-check on.")
        return Went("bundles", said=said)

    def _check(self, desk: Desk, asked: Asked) -> Went:
        """Have the bundle in use answer its samples here, as `edgehemo verify` does."""
        bundle = open_bundle(None, desk.device)

        def verified(job: Job) -> Bundle:
            check_whole(bundle)
            total = sum(len(entry.artefacts) for entry in bundle.manifest.models)
            for number, row in enumerate(verify_artefacts(bundle, threads=1), start=1):
                if row.gate == "fail":
                    raise BundleError(f"{row.artefact.file}: {row.problem}")
                job.at(number / total)
            return bundle

        desk.jobs.begin(self.area, _CHECK, verified)
        return Went("job")

    def _install(self, desk: Desk, asked: Asked) -> Went:
        """Install what lies on a stick: a profile at once, a bundle as a job."""
        words = asked.words
        wanted = asked.values.get("path", "")
        found = next(
            (each for each in artefacts_on(sticks(desk.device)) if str(each.path) == wanted), None
        )
        if found is None:
            return Went("stick", problem=words._("It is not on the stick any more."))
        if found.kind == "bundle":
            return self._install_bundle(desk, found, asked.who.name)
        if found.kind in ("language", "settings"):
            return self._use_package(desk, found, asked)
        try:
            path = install_profile(desk.device, found.path)
        except ProfileError as error:
            return self._refuse(error, "stick", words)
        kept = _kept_at(path)
        digest = None if kept.profile is None else kept.profile.digest()
        details = {"installed": path.name, "sha256": digest}
        desk.kiosk.writer.note("profile changed", details=details, by=asked.who.name)
        said = words._("Installed. It is not in force yet.")
        return Went(f"profiles?name={path.name}", said=said)

    def _install_bundle(self, desk: Desk, found: OnStick, by: str) -> Went:
        store = BundleStore(desk.device.data_dir)

        def installed(job: Job) -> Bundle:
            job.at(None)
            bundle = store.install(found.path)
            desk.kiosk.stored_now(lambda: _note_bundle(desk, bundle, "installed", by))
            leave_on_stick(desk, found.path)
            return bundle

        desk.jobs.begin(self.area, _INSTALL, installed)
        return Went("job")

    def _use_package(self, desk: Desk, found: OnStick, asked: Asked) -> Went:
        """Words and settings are in force at once."""
        try:
            item = use_from_stick(Using(desk.device), found.path, by=asked.who.name)
        except PublicationError as error:
            return self._refuse(error, "stick", asked.words)
        note_in(desk.kiosk.writer, item, asked.who.name)
        desk.take_up(load_device(None))
        leave_on_stick(desk, found.path)
        return Went("stick", said=asked.words._("It is in force now."))

    def _put_away(self, desk: Desk, asked: Asked) -> Went:
        if not is_running(desk.jobs.of(self.area)):
            desk.jobs.put_away(self.area)
        return Went("bundles")


def leave_on_stick(desk: Desk, file: Path) -> None:
    """Leave on the stick what runs here now, for the laboratory; what cannot be written there is
    not missed here.
    """
    stick = next((each for each in sticks(desk.device) if file.is_relative_to(each.path)), None)
    if stick is None:
        return
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        leave_report(stick.path, load_device(None), desk.kiosk.writer.id, now)
    except OSError as error:
        log.info("no report was left on the stick: %s", error)


def _note_bundle(desk: Desk, bundle: Bundle, what: str, by: str) -> None:
    manifest = bundle.manifest
    details = {what: manifest.name, "serial": manifest.serial, "sha256": bundle.digest}
    desk.kiosk.writer.note("bundle changed", details=details, by=by)


def _kept_at(path: Path) -> KeptProfile:
    """A profile that is none of the store's, such as the simulated microscope's."""
    try:
        return KeptProfile(path, True, load_profile(path))
    except ProfileError as error:
        return KeptProfile(path, True, None, str(error))


def _bundle_views(device: DeviceConfiguration, words: Words) -> list[BundleView]:
    """The installed ones, then the one that comes with edgehemo. The one in use is in use."""
    shipped = load_bundle()
    try:
        used = open_bundle(None, device).digest
    except BundleError:
        used = ""
    try:
        store = BundleStore(device.data_dir).installed()
    except BundleError:
        store = []
    found = [
        installed_view(item, item.bundle is not None and item.bundle.digest == used, words)
        for item in store
    ]
    in_store = any(each.in_use for each in found)
    return [*found, shipped_view(shipped, not in_store and shipped.digest == used, words)]


def _profile_key(view: ProfileView) -> str:
    return view.name


def _bundle_key(view: BundleView) -> str:
    return view.key


def _list_and_one(found: Sequence[Any], asked: Asked, key: Any) -> dict[str, Any]:
    """A page of a list and the one of it that is looked at: what is named, else its first."""
    named = asked.values.get("name", "")
    at = next((n for n, each in enumerate(found) if key(each) == named), None)
    wanted = asked.values.get("page", "") or str(0 if at is None else at // ROWS_PER_PAGE)
    page = turned_to(found, wanted, ROWS_PER_PAGE)
    one = next((each for each in page.items if key(each) == named), None)
    return {"page": page, "one": one or (page.items[0] if page.items else None)}
