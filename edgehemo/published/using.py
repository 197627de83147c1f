"""A publication is put in use: checked, tried, switched to, and left again where it fails.

What is begun stands in the state before it is begun. A bundle goes through the device's own store
(`edgehemo.device.installed_bundles`), which looks at signature, digests, serial and answers; its
test slide is read before that. It is on trial until the next self-check, and taken back where that
finds fault with it.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgehemo.bundle.bundle import Bundle, load_bundle
from edgehemo.bundle.packing import unpack
from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.device.installed_bundles import BundleStore, check_whole
from edgehemo.device.installed_languages import LanguageStore
from edgehemo.errors import EdgeHemoError, PublicationError
from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.published import settings
from edgehemo.published.packages import Package, open_package
from edgehemo.published.slide import SlideNumbers, faults_of, read_slide
from edgehemo.published.state import (
    MOST_WORDS,
    TRIES,
    Before,
    Published,
    PublishedState,
    PublishedStore,
)
from edgehemo.published.terms import FROM_STICK, Standing

log = logging.getLogger(__name__)

Reads = Callable[[Path], SlideNumbers]


@dataclass(frozen=True, slots=True)
class Using:
    """What publications are put in use with. device: whose they are. reads: has the test slide read
    by a bundle.
    """

    device: DeviceConfiguration
    reads: Reads = read_slide

    @property
    def store(self) -> PublishedStore:
        return PublishedStore(self.device.data_dir)

    @property
    def bundles(self) -> BundleStore:
        return BundleStore(self.device.data_dir)

    @property
    def languages(self) -> LanguageStore:
        return LanguageStore(self.device.data_dir)


def check(using: Using, item: Published) -> Published:
    """Look at a file that was just fetched: whether this device would take it. As it then stands:
    ``waiting``, with who signed it, or PublicationError.
    """
    file = using.store.file(item.sha256)
    if item.kind == "bundle":
        with _bundle_in(file, using, item) as bundle:
            digest, signed_by = bundle.digest, bundle.signed_by or bundle.trust
    else:
        package = _package_in(file, using, item)
        digest, signed_by = package.digest, package.signed_by
    return item.model_copy(
        update={
            "standing": "waiting", "digest": digest, "signed_by": signed_by, "words": "",
            "at": _now(),
        }
    )  # fmt: skip


def put_in_use(using: Using, sha256: str, *, by: str = "") -> Published:
    """Put a waiting publication in use; as it then stands: ``on trial``, ``in use`` or
    ``refused``, with its words. by: who asked for it; empty where the device did by itself.

    PublicationError where it does not wait any more.
    """

    def begun(state: PublishedState) -> PublishedState:
        item = state.of(sha256)
        if item is None or item.standing != "waiting":
            raise PublicationError("it does not wait to be put in use any more")
        begun = {"standing": "putting", "by": by, "tries_left": item.tries_left - 1, "at": _now()}
        return _with(state, item.model_copy(update=begun))

    found = using.store.change(begun).of(sha256)
    assert found is not None
    return _put(using, found)


def _put(using: Using, item: Published) -> Published:
    puts = {"bundle": _put_bundle, "language": _put_language, "settings": _put_settings}
    try:
        item, standing = puts[item.kind](using, item)
    except (EdgeHemoError, OSError) as error:
        log.warning("%s is not put in use: %s", item.called, error)
        return using.store.note(_ended(item, "refused", str(error)))
    log.info("%s serial %d is %s", item.called, item.serial, standing)
    return using.store.note(
        item.model_copy(update={"standing": standing, "words": "", "at": _now()})
    )


def _put_bundle(using: Using, item: Published) -> tuple[Published, Standing]:
    file = using.store.file(item.sha256)
    with _bundle_in(file, using, item) as bundle:
        faults = list(faults_of(using.reads(bundle.path), item.expected))
    if faults:
        raise PublicationError("; ".join(faults))
    before = Before(bundle=using.bundles.state().current)
    item = using.store.note(item.model_copy(update={"before": before}))
    using.bundles.install(file)
    return item, "on trial"


def _put_language(using: Using, item: Published) -> tuple[Published, Standing]:
    package = _package_in(using.store.file(item.sha256), using, item)
    # Noted first: where the plug is pulled between, the words of before are known.
    known = using.languages.state().in_use.get(package.manifest.name)
    item = using.store.note(item.model_copy(update={"before": Before(language=known)}))
    using.languages.install(item.name, item.serial, package.content)
    if package.manifest.name not in using.languages.serving():
        using.languages.put_back(package.manifest.name, known)
        raise PublicationError("the words were not read back as they were written")
    return item, "in use"


def _put_settings(using: Using, item: Published) -> tuple[Published, Standing]:
    package = _package_in(using.store.file(item.sha256), using, item)
    sent = settings.settings_of(package.content, item.name)
    device = load_device(None)
    there = settings.in_force(device, item.origin)
    before = {
        section: {key: there.get(section, {}).get(key) for key in keys}
        for section, keys in sent.values.items()
    }
    item = using.store.note(item.model_copy(update={"before": Before(settings=before)}))
    settings.apply(sent.values, device, item.origin)

    def risen(state: PublishedState) -> PublishedState:
        highest = {**state.highest_settings, item.name: item.serial}
        return state.model_copy(update={"highest_settings": highest})

    using.store.change(risen)
    return item, "in use"


@contextmanager
def _bundle_in(file: Path, using: Using, item: Published) -> Iterator[Bundle]:
    """A fetched bundle, whole and trusted, of the name and serial that it was offered as; unpacked
    for as long as the context lasts.
    """
    if using.device.paths.bundle is not None:
        raise PublicationError(
            "the device configuration names the bundle that is used here (paths.bundle); take it "
            "out, and a published one can be put in use"
        )
    # Beside the file: it is on the disk that has room for it, and of no other user.
    with tempfile.TemporaryDirectory(prefix=".unpacked.", dir=using.store.path) as scratch:
        unpack(file, Path(scratch))
        bundle = load_bundle(Path(scratch), origin=Path(f"{item.name} from {item.origin}"))
        check_whole(bundle)
        _refuse_another(item, bundle.manifest.name, bundle.manifest.serial)
        using.bundles.refuse_older(bundle)
        yield bundle


def _package_in(file: Path, using: Using, item: Published) -> Package:
    package = open_package(file, f"{item.name} from {item.origin}")
    made = package.manifest
    if made.kind != item.kind:
        raise PublicationError(f"{item.name}: was offered as {item.kind} and is {made.kind}")
    _refuse_another(item, made.name, made.serial)
    if made.kind == "language":
        using.languages.refuse_unfit(made.name, made.serial, package.content)
    else:
        settings.settings_of(package.content, item.name)
        highest = using.store.state().highest_settings.get(made.name, 0)
        if made.serial < highest:
            raise PublicationError(
                f"{made.name}: is serial {made.serial}, serial {highest} was set here; older "
                "settings are not used"
            )
    return package


def _refuse_another(item: Published, name: str, serial: int) -> None:
    if (name, serial) != (item.name, item.serial):
        raise PublicationError(
            f"it was offered as {item.name} serial {item.serial} and is {name} serial {serial}"
        )


def use_from_stick(using: Using, file: Path, *, by: str) -> Published:
    """Put words or settings in use that a person brought on a stick; how they then stand.

    PublicationError where they are not taken.
    """
    package = open_package(file, file.name)
    made = package.manifest
    content = file.read_bytes()
    item = Published(
        sha256=hashlib.sha256(content).hexdigest(),
        kind=made.kind,
        name=made.name,
        serial=made.serial,
        bytes=len(content),
        origin=FROM_STICK,
        standing="offered",
    )
    using.store.note(item)
    write_bytes_atomically(using.store.file(item.sha256), content)
    try:
        using.store.note(check(using, item))
    except PublicationError as error:
        using.store.note(_ended(item, "refused", str(error)))
        raise
    done = put_in_use(using, item.sha256, by=by)
    if done.standing != "in use":
        raise PublicationError(done.words)
    return done


def settle(using: Using) -> None:
    """After a start: what was being put in use when the plug was pulled is in use, or waits again;
    one that was begun too often is left.
    """

    def settled(state: PublishedState) -> PublishedState:
        for item in state.items:
            if item.standing == "putting":
                state = _with(state, _after_a_stop(using, item))
        return state

    if any(each.standing == "putting" for each in using.store.state().items):
        using.store.change(settled)


def _after_a_stop(using: Using, item: Published) -> Published:
    if _is_there(using, item):
        standing: Standing = "on trial" if item.kind == "bundle" else "in use"
        return item.model_copy(update={"standing": standing, "words": "", "at": _now()})
    if item.tries_left == 0:
        return _ended(item, "refused", f"it was begun {TRIES} times and never ended")
    words = "the device stopped while it was being put in use"
    return item.model_copy(update={"standing": "waiting", "words": words, "at": _now()})


def _is_there(using: Using, item: Published) -> bool:
    if item.before is None:
        return False
    if item.kind == "bundle":
        current = using.bundles.state().current
        return current is not None and current.endswith(item.digest[:12])
    if item.kind == "language":
        known = using.languages.state().in_use.get(item.name)
        return known is not None and known.serial == item.serial
    try:
        package = open_package(using.store.file(item.sha256), item.name)
        sent = settings.settings_of(package.content, item.name)
    except PublicationError:
        return False
    there = settings.in_force(load_device(None), item.origin)
    return all(
        there.get(section, {}).get(key) == value
        for section, keys in sent.values.items()
        for key, value in keys.items()
    )


def on_trial(data_dir: Path) -> Published | None:
    """The bundle that awaits its first self-check here."""
    found = PublishedStore(data_dir).state().in_use("bundle")
    return found if found is not None and found.standing == "on trial" else None


def judged(using: Using, fault: str) -> Published | None:
    """A self-check was made with what is on trial: good from now on where there is no fault, else
    what was before is in use again. None where nothing is on trial.
    """
    item = on_trial(using.device.data_dir)
    if item is None:
        return None
    if not fault:
        return using.store.note(
            item.model_copy(update={"standing": "in use", "words": "", "at": _now()})
        )
    return go_back(using, item, f"the self-check found fault with it: {fault}")


def go_back(using: Using, item: Published, why: str) -> Published:
    """Have in use again what was before a publication; how it then stands. What a person put in use
    since stays.
    """
    before = item.before if item.before is not None else Before()
    words = why
    try:
        if item.kind == "bundle":
            known = using.bundles.state().current
            if known is None or not known.endswith(item.digest[:12]):
                words += "; another bundle is in use by now"
            else:
                using.bundles.take_back(known, before.bundle)
        elif item.kind == "language":
            using.languages.put_back(item.name, before.language)
        elif before.settings is not None:
            settings.apply(before.settings, load_device(None), item.origin)
    except EdgeHemoError as error:
        log.error("what was in use before %s is not: %s", item.called, error)
        return using.store.note(
            item.model_copy(update={"words": f"{why}; it stays: {error}"[:MOST_WORDS]})
        )
    log.warning("%s serial %d was left: %s", item.called, item.serial, words)
    return using.store.note(_ended(item, "fell back", words))


def refuse(using: Using, sha256: str, *, by: str) -> Published:
    """A person does not want what waits. PublicationError where it does not wait any more."""
    item = using.store.state().of(sha256)
    if item is None or item.standing != "waiting":
        raise PublicationError("it does not wait to be put in use any more")
    declined = _ended(item, "declined", "a person at the kiosk does not want it")
    return using.store.note(declined.model_copy(update={"by": by}))


def _ended(item: Published, standing: Standing, words: str) -> Published:
    said = " ".join(words.split())[:MOST_WORDS]
    return item.model_copy(update={"standing": standing, "words": said, "at": _now()})


def _with(state: PublishedState, item: Published) -> PublishedState:
    items = tuple(item if each.sha256 == item.sha256 else each for each in state.items)
    return state.model_copy(update={"items": items})


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
