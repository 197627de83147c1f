"""From one version to the next and back: what is done in which order, and what a stop leaves.

Every step leaves a device that starts: the link to what runs is turned in one step, after the new
version lies whole beside it and has passed its first check there. What is under way stands in the
state (`edgehemo.device.version_state`) before it is begun, and `confirm` at the next start ends it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from edgehemo.bundle.signatures import PUBLIC_SUFFIX, PublicKey
from edgehemo.device.version_state import (
    STATE_NAME,
    InstalledVersion,
    LeftAt,
    LeftVersion,
    Slot,
    Trial,
    UpdateState,
    read_state,
    write_state,
)
from edgehemo.errors import MediaError, RecordsError, UpdateError, WithheldError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.lock import locked
from edgehemo_firmware.update import carried_bundle, records_step, slots
from edgehemo_firmware.update.layout import (
    Place,
    other,
    point,
    pointed_slot,
)
from edgehemo_firmware.update.manifest import MediaManifest, version_of
from edgehemo_firmware.update.media import Media, OnFile, opened_media
from edgehemo_firmware.update.proving import (
    AFTER_THE_SWITCH,
    BEFORE_THE_SWITCH,
    Verdict,
    judge,
)

log = logging.getLogger(__name__)

# First checks that a new version may begin: a plug pulled in one is no fault of the version.
TRIES = 3
KEYS = Path("etc/edgehemo/keys")
# What is told after each of these is done, and where a test pulls the plug.
Step = Literal[
    "media checked", "slot emptied", "slot built", "slot noted", "version checked", "trial noted",
    "switched", "try counted", "trial judged", "records back", "bundle back", "switched back",
    "proved", "bundle brought",
]  # fmt: skip
OnStep = Callable[[Step], None]
Judge = Callable[[Place, Slot, Sequence[str]], Verdict]
Outcome = Literal["on trial", "in force", "already in force", "fell back", "nothing to do"]


class VersionRefusedError(WithheldError):
    """A version that did not pass its first check; what ran before runs on."""


def _no_step(_: Step) -> None:
    return None


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Changing:
    """What the steps are done with. target: of the device. judge: runs a slot's first check.
    on_step: called after each step. on_file: after each file of the media that was checked.
    """

    place: Place
    target: str
    judge: Judge = judge
    on_step: OnStep = _no_step
    on_file: OnFile | None = None
    now: Callable[[], datetime] = _now

    def locked(self) -> AbstractContextManager[None]:
        """One process at a time changes the versions."""
        return locked(self.place.data / STATE_NAME, UpdateError)

    def state(self) -> UpdateState:
        return read_state(self.place.data)

    def store(self, state: UpdateState, **changed: object) -> UpdateState:
        """The state with some fields changed, on the disk when this returns."""
        state = state.model_copy(update=changed)
        write_state(self.place.data, state)
        return state


@dataclass(frozen=True, slots=True)
class Changed:
    """What came of it. version: the one that runs from now on. reason: of a fall-back."""

    outcome: Outcome
    version: str
    reason: str = ""


def install_version(place: Place, media: Media, *, trust: PublicKey | None = None) -> Changed:
    """The first version of a device, or the next one, from checked media.

    trust: the public key of whoever signs them; it is put among the device's keys. A machine proves
    its first version at once; an image is proved when it first starts. See `update`.
    """
    if trust is not None:
        trust_key(place, trust)
    changing = Changing(place, media.manifest.target)
    if place.is_image:
        return update(replace(changing, judge=_at_first_start), media)
    first = pointed_slot(place.current) is None
    changed = update(changing, media)
    return confirm(changing) if first and changed.outcome == "on trial" else changed


def _at_first_start(place: Place, slot: Slot, checks: Sequence[str]) -> Verdict:
    """An image is built on another machine, whose numbers say nothing of the device's."""
    return Verdict("passed")


def trust_key(place: Place, key: PublicKey) -> Path:
    """Have the device trust a public key; its file there."""
    path = place.root / KEYS / f"{key.identifier}{PUBLIC_SUFFIX}"
    if not path.is_file():
        write_text_atomically(path, key.line)
    return path


def update(changing: Changing, source: Path | Media) -> Changed:
    """Check media, build them in the other slot, check what was built, and switch to it on trial.

    source: a stick or a folder on it, or media that were checked already.

    Nothing that runs is touched until the last step. MediaError, UpdateError or RecordsError before
    anything is begun; UpdateError where the version cannot be built; VersionRefusedError where it
    does not pass its first check.
    """
    place = changing.place
    media = source
    if not isinstance(media, Media):
        media = opened_media(media, changing.target, changing.on_file)
    manifest = media.manifest
    with changing.locked():
        state = _adopted(changing)
        refuse_unfit(place, state, media)
        runs = pointed_slot(place.current)
        if runs is not None and _has(place, state, runs, media.sha256):
            return Changed("already in force", manifest.version)
        changing.on_step("media checked")
        slot = other(runs)
        kept = {name: held for name, held in state.slots.items() if name != slot}
        state = changing.store(state, slots=kept, going_back=None)
        slots.remove(place, slot)
        changing.on_step("slot emptied")
        slots.build(place, slot, media)
        changing.on_step("slot built")
        installed = InstalledVersion(
            version=manifest.version,
            media_sha256=media.sha256,
            records_version=manifest.records_version,
            installed_at=changing.now(),
        )
        state = changing.store(state, slots={**state.slots, slot: installed})
        changing.on_step("slot noted")
        _refuse_failing(changing, state, slot, manifest)
        changing.on_step("version checked")
        trial = Trial(slot=slot, since=changing.now(), tries_left=TRIES)
        changing.store(state, trial=trial)
        changing.on_step("trial noted")
        point(place.current, slot)
        if pointed_slot(place.good) is None:
            # Nobody was proved before: the first judges itself.
            point(place.good, slot)
        changing.on_step("switched")
    return Changed("on trial", manifest.version)


def _adopted(changing: Changing) -> UpdateState:
    """The state; a version that runs and came by another way than media counts as proved."""
    state, place = changing.state(), changing.place
    runs = pointed_slot(place.current)
    if runs is None or runs in state.slots or state.trial is not None:
        return state
    version, records_version = slots.found_in(place, runs)
    digest = slots.mark_adopted(place, runs, version)
    installed = InstalledVersion(
        version=version,
        media_sha256=digest,
        records_version=records_version,
        installed_at=changing.now(),
    )
    point(place.good, runs)
    slots_now = {**state.slots, runs: installed}
    return changing.store(state, slots=slots_now, good=runs, newest=version)


def refuse_unfit(place: Place, state: UpdateState, media: Media) -> None:
    """MediaError, UpdateError or RecordsError for media that this device does not take now."""
    manifest = media.manifest
    if state.trial is not None and pointed_slot(place.current) == state.trial.slot:
        raise UpdateError(
            "the last update is not proved yet: restart the device, or run "
            "`sudo edgehemo device confirm`, and update then"
        )
    _refuse_older(state, manifest)
    runs = pointed_slot(place.current)
    held = None if runs is None else state.slots.get(runs)
    if held is not None:
        if version_of(held.version) < version_of(manifest.oldest_from):
            raise MediaError(
                f"{media.path}: edgehemo {manifest.version} takes over from "
                f"{manifest.oldest_from} on, and {held.version} runs here: update to one between"
            )
        if held.version == manifest.version and held.media_sha256 != media.sha256:
            raise MediaError(
                f"{media.path}: is edgehemo {manifest.version}, as what runs here, and not the "
                "same media: two builds of one version are not told apart; have it made with a "
                "version of its own"
            )
    found = records_step.version_now(place)
    if found > manifest.records_version:
        raise RecordsError(
            f"the records are of version {found} and edgehemo {manifest.version} writes version "
            f"{manifest.records_version}: it could not read them"
        )


def _refuse_older(state: UpdateState, manifest: MediaManifest) -> None:
    newest = state.newest
    if newest is not None and version_of(manifest.version) < version_of(newest):
        raise MediaError(
            f"edgehemo {manifest.version} is older than {newest}, which was in force here; an "
            "older version is not installed (`sudo edgehemo device rollback` goes back to the "
            "last one)"
        )


def _has(place: Place, state: UpdateState, slot: Slot, media_sha256: str) -> bool:
    held = state.slots.get(slot)
    same = held is not None and held.media_sha256 == media_sha256
    return same and slots.is_whole(place, slot, media_sha256)


def _refuse_failing(
    changing: Changing, state: UpdateState, slot: Slot, manifest: MediaManifest
) -> None:
    verdict = changing.judge(changing.place, slot, BEFORE_THE_SWITCH)
    if verdict.passed:
        return
    kept = {name: held for name, held in state.slots.items() if name != slot}
    left = _left(changing, state, manifest.version, "before the switch", verdict.reason)
    changing.store(state, slots=kept, left=left)
    slots.remove(changing.place, slot)
    stays = f"edgehemo {left.back_to} runs on" if left.back_to else "nothing was installed"
    raise VersionRefusedError(f"edgehemo {manifest.version}: {verdict.reason}; {stays}")


def _left(
    changing: Changing, state: UpdateState, version: str, when: LeftAt, reason: str
) -> LeftVersion:
    """What is told of a version that is left."""
    proved = state.proved
    back_to = None if proved is None else proved.version
    return LeftVersion(
        version=version, back_to=back_to, at=changing.now(), when=when, reason=reason
    )


def confirm(changing: Changing) -> Changed:
    """Judge what is on trial, at every start of the device: good from now on, or back.

    Ends what a pulled plug left. A check that could not be ended is begun again, `TRIES` times in
    all, over all starts. VersionRefusedError where the version failed and there is none to go back
    to, or no way back for the records.
    """
    place = changing.place
    with changing.locked():
        state = _settled(changing)
        if (trial := state.trial) is None:
            return _nothing_on_trial(changing, state)
        version = state.slots[trial.slot].version
        reason = f"its first check was begun {TRIES} times and never ended"
        when: LeftAt = "not checked in time"
        while trial.tries_left > 0:
            trial = trial.model_copy(update={"tries_left": trial.tries_left - 1})
            # Before the check: where the plug is pulled in it, it was begun.
            state = changing.store(state, trial=trial)
            changing.on_step("try counted")
            verdict = changing.judge(place, trial.slot, AFTER_THE_SWITCH)
            if verdict.passed:
                return _proved(changing, state, trial.slot)
            log.error("edgehemo %s: %s", version, verdict.reason)
            reason = verdict.reason
            if verdict.kind == "failed":
                when = "first check"
                break
        changing.on_step("trial judged")
        return _fall_back(changing, state, trial.slot, when, reason)


def _nothing_on_trial(changing: Changing, state: UpdateState) -> Changed:
    """Only what a pulled plug left of the bundle that the proved version's media carried."""
    proved, good = state.proved, state.good
    if proved is None or good is None:
        return Changed("nothing to do", "")
    reason = ""
    if pointed_slot(changing.place.current) == good:
        reason = carried_bundle.bring(changing.place, good)
    return Changed("nothing to do", proved.version, reason)


def _settled(changing: Changing) -> UpdateState:
    """The state, where what a stop left half done is done or forgotten."""
    state, place = changing.state(), changing.place
    runs = pointed_slot(place.current)
    if state.going_back is not None:
        # Stopped before the link was turned: it was not gone back, and the records are brought up
        # to date again by whoever opens them. After it: all is done but to say so.
        if runs == state.going_back:
            state = changing.store(state, good=state.going_back, trial=None)
        state = changing.store(state, going_back=None)
    trial = state.trial
    if trial is not None and runs != trial.slot:
        if state.left is not None and state.left.at >= trial.since:
            log.warning("the fall-back from %s was interrupted and is done", state.left.version)
        else:
            log.warning("an update was interrupted before it was switched to; update again")
        state = changing.store(state, trial=None)
    if state.good is not None and pointed_slot(place.good) != state.good:
        point(place.good, state.good)
    return state


def _proved(changing: Changing, state: UpdateState, slot: Slot) -> Changed:
    version = state.slots[slot].version
    newest = state.newest
    if newest is None or version_of(version) > version_of(newest):
        newest = version
    changing.store(state, good=slot, trial=None, left=None, newest=newest)
    point(changing.place.good, slot)
    changing.on_step("proved")
    reason = carried_bundle.bring(changing.place, slot)
    changing.on_step("bundle brought")
    return Changed("in force", version, reason)


def _fall_back(
    changing: Changing, state: UpdateState, slot: Slot, when: LeftAt, reason: str
) -> Changed:
    """Back to the version that was proved; what stands in the state says why, there."""
    version, proved, good = state.slots[slot].version, state.proved, state.good
    left = _left(changing, state, version, when, reason)
    if proved is None or good is None or good == slot:
        # The first version of a device: there is none to go back to.
        changing.store(state, left=left)
        raise VersionRefusedError(
            f"edgehemo {version}: {reason}; there is no version to go back to: install from other "
            "media"
        )
    state = changing.store(state, left=left)
    try:
        records_step.go_back(changing.place, proved.records_version, leave_newer=False)
    except RecordsError as error:
        raise VersionRefusedError(
            f"edgehemo {version}: {reason}; it cannot be gone back to {proved.version}: {error}"
        ) from None
    changing.on_step("records back")
    point(changing.place.current, good)
    changing.on_step("switched back")
    changing.store(state, trial=None)
    return Changed("fell back", proved.version, reason)


def roll_back(changing: Changing, *, leave_newer: bool = False) -> Changed:
    """Back to the version before, because a person wants it.

    It is checked as a new one is, and so are the records, before anything is touched. leave_newer:
    see `edgehemo.records.going_back.go_back`. UpdateError where there is no version before;
    RecordsError where results would be lost; VersionRefusedError where it does not pass its check.
    """
    place = changing.place
    with changing.locked():
        state = _settled(changing)
        runs = pointed_slot(place.current)
        slot = other(runs)
        held, present = state.slots.get(slot), state.slots.get(runs) if runs else None
        if runs is None or present is None or held is None:
            raise UpdateError(
                "there is no version to go back to: none was in force before this one"
            )
        if not slots.is_whole(place, slot, held.media_sha256):
            raise UpdateError(f"edgehemo {held.version} is not whole; install it from media again")
        slots.read_back(place, slot)
        found = records_step.ask(place, held.records_version)
        if found.back and found.lost and not leave_newer:
            raise RecordsError(
                f"since the update this was done, and edgehemo {held.version} cannot read it: "
                f"{found.lost}; stay with {present.version}, or back up and leave it behind in a "
                "file of its own with --leave-newer-records"
            )
        verdict = changing.judge(place, slot, BEFORE_THE_SWITCH)
        if not verdict.passed:
            raise VersionRefusedError(
                f"edgehemo {held.version}: {verdict.reason}; {present.version} runs on"
            )
        state = changing.store(state, going_back=slot)
        records_step.go_back(place, held.records_version, leave_newer=leave_newer)
        changing.on_step("records back")
        words = []
        # Back again to the newer one: its own bundle comes with it, below.
        if version_of(held.version) < version_of(present.version):
            words.append(carried_bundle.take_back(place, runs))
            changing.on_step("bundle back")
        point(place.current, slot)
        changing.on_step("switched back")
        left = LeftVersion(
            version=present.version,
            back_to=held.version,
            at=changing.now(),
            when="by hand",
            reason="a person went back to the version before",
        )
        changing.store(state, good=slot, trial=None, left=left, going_back=None)
        point(place.good, slot)
        changing.on_step("proved")
        words.append(carried_bundle.bring(place, slot))
        changing.on_step("bundle brought")
    return Changed("in force", held.version, "; ".join(word for word in words if word))
