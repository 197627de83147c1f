"""What a laboratory publishes is checked, put in use once it is proved, and left where it fails."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from edgehemo.bundle.signatures import PrivateKey
from edgehemo.device.configuration import load_device
from edgehemo.device.installed_bundles import BundleStore
from edgehemo.device.installed_languages import LanguageStore, problems_of
from edgehemo.errors import PublicationError
from edgehemo.guidance.catalogue import look_in
from edgehemo.published.packages import kind_of, open_package
from edgehemo.published.running import running_on
from edgehemo.published.settings import SETTABLE, settings_of_toml
from edgehemo.published.settings import problems_of as wrong_settings
from edgehemo.published.slide import SlideNumbers, faults_of
from edgehemo.published.state import Published, PublishedStore
from edgehemo.published.using import Using, check, go_back, judged, put_in_use, refuse, settle
from edgehemo.words.language import Words
from tests.support.bundle_makers import signing_key
from tests.support.publications import (
    NUMBERS,
    changed_words,
    device_at,
    fetched,
    offered,
    own_words,
    packed,
    packed_bundle,
    packed_settings,
)

STRANGER = PrivateKey(b"s" * 32, "stranger")
TEXT, FRENCH, CORRECTED = "Sign out", "Se déconnecter", "Se deconnecter "


@pytest.fixture(autouse=True)
def _own_words_again() -> object:
    yield
    look_in({})


def using(device: object, numbers: SlideNumbers = NUMBERS) -> Using:
    return Using(device, reads=lambda _: numbers)  # type: ignore[arg-type]


def waiting(work: Using, file: Path, item: Published) -> Published:
    fetched(work.store, file, item)
    return work.store.note(check(work, item))


# -- packages -------------------------------------------------------------------------------------


def test_a_package_is_opened_where_a_trusted_key_signed_it(tmp_path: Path) -> None:
    signing_key()
    file = packed(tmp_path, "language", own_words(), name="fr", serial=3)
    package = open_package(file)
    assert (package.manifest.name, package.manifest.serial) == ("fr", 3)
    assert package.content == own_words() and package.signed_by.startswith("laboratory (")
    assert kind_of(file) == "language" and kind_of(packed_bundle(tmp_path)) == "bundle"
    again = packed(tmp_path / "again", "language", own_words(), name="fr", serial=3)
    assert again.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("what", ["stranger", "changed", "added", "unsigned", "cut", "another"])
def test_a_package_that_nobody_vouches_for_is_refused(tmp_path: Path, what: str) -> None:
    signing_key()
    key = STRANGER if what == "stranger" else None
    file = packed(tmp_path, "language", own_words(), name="fr", key=key)
    parts = {}
    with zipfile.ZipFile(file) as stored:
        parts = {name: stored.read(name) for name in stored.namelist()}
    if what == "changed":
        parts["edgehemo.mo"] += b"x"
    elif what == "added":
        parts["more.txt"] = b"x"
    elif what == "unsigned":
        del parts["manifest.sig"]
    elif what == "another":
        parts["manifest.json"] = parts["manifest.json"].replace(b'"fr"', b'"es"')
    if what not in ("stranger", "cut"):
        with zipfile.ZipFile(file, "w") as changed:
            for name, data in parts.items():
                changed.writestr(name, data)
    if what == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(PublicationError) as refused:
        open_package(file)
    assert "\n" not in str(refused.value)


# -- languages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "content", "why"),
    [
        ("en", own_words(), "English"),
        ("xx", own_words(), "this version knows"),
        ("fr", b"no catalogue", "is no .mo file"),
        ("fr", own_words()[:1000], "is no .mo file"),
        ("fr", changed_words(FRENCH, "\0" * len(FRENCH.encode())), "no words"),
        ("fr", changed_words(FRENCH, "{password.x}   "), "no place for a value"),
        ("fr", changed_words(FRENCH, "Bonjour {name}!"), "the place 'name'"),
    ],
)
def test_words_that_do_not_serve_are_refused(language: str, content: bytes, why: str) -> None:
    assert why in problems_of(language, content)[0]


def test_installed_words_are_shown_and_the_way_back_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = device_at(tmp_path / "device", monkeypatch, '[kiosk]\nlanguage = "fr"')
    work = using(device)
    content = changed_words(FRENCH, CORRECTED)
    assert not problems_of("fr", content)
    file = packed(tmp_path, "language", content, name="fr", serial=4)
    item = waiting(work, file, offered(file, "language", "fr", 4))
    assert Words("fr")._(TEXT) == FRENCH
    done = put_in_use(work, item.sha256, by="grace")
    assert (done.standing, done.by) == ("in use", "grace")
    assert Words("fr")._(TEXT) == CORRECTED and device.words._(TEXT) == CORRECTED
    assert not work.store.file(item.sha256).exists()
    ran = running_on(device, "laboratory", "asked")
    assert [(each.language, each.serial) for each in ran.languages] == [("fr", 4)]
    older = packed(tmp_path, "language", content, name="fr", serial=3)
    with pytest.raises(PublicationError, match="serial 4 was installed"):
        waiting(work, older, offered(older, "language", "fr", 3))
    left = go_back(work, done, "a test")
    assert left.standing == "fell back" and Words("fr")._(TEXT) == FRENCH


def test_damaged_or_outgrown_words_give_way_to_edgehemos_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device_at(tmp_path, monkeypatch)
    store = LanguageStore(tmp_path)
    store.install("fr", 1, changed_words(FRENCH, CORRECTED))
    assert set(store.serving()) == {"fr"}
    (file,) = store.path.glob("*.mo")
    file.write_bytes(file.read_bytes()[:-1])
    store.use()
    assert not store.serving() and Words("fr")._(TEXT) == FRENCH


# -- settings -------------------------------------------------------------------------------------


def test_settings_are_those_of_the_table_on_their_strict_side() -> None:
    text = '[kiosk]\nunit = "g/dL"\naltitude_m = 1200\n[receiver]\nidentified = false\n'
    assert settings_of_toml(text, "site.toml").values["kiosk"]["unit"] == "g/dL"
    for wrong in (
        '[paths]\ndata = "/"',
        "[receiver]\nidentified = true",
        '[receiver]\naddress = "https://elsewhere.example"',
        "[screening]\ncontrol_expires_hours = 8000",
        "[screening]\nfields_wanted = 1",
        '[kiosk]\nunit = "pints"',
        "[kiosk]\nlisten = '0.0.0.0:8443'",
        "",
    ):
        with pytest.raises(PublicationError):
            settings_of_toml(wrong, "site.toml")
    assert not any(section in ("paths", "inference", "camera") for section, _ in SETTABLE)
    assert wrong_settings({"receiver": {"withheld": "nothing"}})


def test_settings_are_set_and_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = device_at(tmp_path / "device", monkeypatch, '[kiosk]\nunit = "g/L" # ours\n')
    work = using(device)
    values = {
        "kiosk": {"unit": "g/dL", "site": "hills"}, "receiver": {"identified": False},
    }  # fmt: skip
    before = running_on(device, "laboratory", "asked").settings_sha256
    file = packed_settings(tmp_path, values, serial=2)
    item = waiting(work, file, offered(file, "settings", "site", 2))
    done = put_in_use(work, item.sha256)
    now = load_device(None)
    assert done.standing == "in use"
    assert (now.kiosk.unit, now.kiosk.site, now.receivers[0].identified) == ("g/dL", "hills", False)
    assert "# ours" in (tmp_path / "device" / "device.toml").read_text()
    assert running_on(now, "laboratory", "asked").settings_sha256 != before
    older = packed_settings(tmp_path, values, serial=1)
    with pytest.raises(PublicationError, match="serial 2 was set"):
        waiting(work, older, offered(older, "settings", "site", 1))
    go_back(work, done, "a test")
    now = load_device(None)
    assert (now.kiosk.unit, now.kiosk.site, now.receivers[0].identified) == ("g/L", None, True)


def test_settings_that_the_file_does_not_take_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = device_at(tmp_path / "device", monkeypatch)
    work = using(device)
    file = packed_settings(tmp_path, {"kiosk": {"unit": "g/dL"}, "receiver": {"identified": False}})
    item = waiting(work, file, offered(file, "settings", "site", origin="elsewhere"))
    done = put_in_use(work, item.sha256)
    assert done.standing == "refused" and "elsewhere" in done.words
    assert load_device(None).kiosk.unit == "g/L"


# -- bundles --------------------------------------------------------------------------------------


def test_a_bundle_is_on_trial_until_a_self_check_finds_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = device_at(tmp_path / "device", monkeypatch)
    work = using(device)
    for serial in (1, 2):
        file = packed_bundle(tmp_path, serial)
        item = waiting(work, file, offered(file, "bundle", "small", serial, expected=NUMBERS))
        assert put_in_use(work, item.sha256).standing == "on trial"
        good = judged(work, "")
        assert good is not None and good.standing == "in use"
        assert judged(work, "BUNDLE_REFUSED") is None
    ran = running_on(device, "laboratory", "asked")
    assert ran.bundle is not None and (ran.bundle.serial, ran.highest["bundle small"]) == (2, 2)
    file = packed_bundle(tmp_path, 3)
    item = waiting(work, file, offered(file, "bundle", "small", 3, expected=NUMBERS))
    put_in_use(work, item.sha256)
    left = judged(work, "BUNDLE_REFUSED")
    assert left is not None and left.standing == "fell back" and "BUNDLE_REFUSED" in left.words
    ran = running_on(device, "laboratory", "asked")
    assert ran.bundle is not None and ran.bundle.serial == 2
    assert ran.outcomes[-1].standing == "fell back"
    again = work.store.state().of(item.sha256)
    assert again is not None and again.standing == "fell back"


def test_a_bundle_with_other_numbers_is_never_switched_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = device_at(tmp_path / "device", monkeypatch)
    other = NUMBERS.model_copy(update={"indices": {"hgb_index": 0.08}})
    work = using(device, other)
    file = packed_bundle(tmp_path, 1)
    item = waiting(work, file, offered(file, "bundle", "small", expected=NUMBERS))
    done = put_in_use(work, item.sha256)
    assert done.standing == "refused" and "0.08, 0.06 expected" in done.words
    assert BundleStore(device.data_dir).state().current is None
    with pytest.raises(PublicationError):
        put_in_use(work, item.sha256)


@pytest.mark.parametrize(
    ("serial", "key", "configured", "offered_as", "why"),
    [
        (1, STRANGER, False, ("small", 1), "does not trust"),
        (1, None, False, ("small", 1), "serial 5"),
        (7, None, True, ("small", 7), "paths.bundle"),
        (7, None, False, ("small", 8), "was offered as"),
    ],
)
def test_a_bundle_that_this_device_does_not_take_is_refused_before_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serial: int, key: PrivateKey | None,
    configured: bool, offered_as: tuple[str, int], why: str,
) -> None:  # fmt: skip
    device = device_at(tmp_path / "device", monkeypatch)
    signing_key()
    store = BundleStore(device.data_dir)
    store.path.mkdir()
    known = {
        "schema": "edgehemo.bundle-store/1", "current": None, "previous": None,
        "highest_serial": {"small": 5}, "rolled_back": False,
    }  # fmt: skip
    (store.path / "state.json").write_text(json.dumps(known))
    if configured:
        device = device.model_copy(
            update={"paths": device.paths.model_copy(update={"bundle": "/elsewhere"})}
        )
    file = packed_bundle(tmp_path, serial, key)
    with pytest.raises(Exception, match=why):
        waiting(using(device), file, offered(file, "bundle", *offered_as))


def test_a_pulled_plug_leaves_what_was_or_what_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = device_at(tmp_path / "device", monkeypatch)

    class Plug(BaseException):
        pass

    def pulled(_: Path) -> SlideNumbers:
        raise Plug

    file = packed_bundle(tmp_path, 1)
    work = using(device)
    item = waiting(work, file, offered(file, "bundle", "small", expected=NUMBERS))
    for tries_left in (2, 1, 0):
        with pytest.raises(Plug):
            put_in_use(Using(device, reads=pulled), item.sha256)
        settle(work)
        known = work.store.state().of(item.sha256)
        assert known is not None and known.tries_left == tries_left
        assert known.standing == ("waiting" if tries_left else "refused")
    # Pulled after the switch, before it was noted.
    second = packed_bundle(tmp_path, 2)
    item = waiting(work, second, offered(second, "bundle", "small", 2, expected=NUMBERS))
    put_in_use(work, item.sha256)
    work.store.note(work.store.state().in_use("bundle").model_copy(update={"standing": "putting"}))  # type: ignore[union-attr]
    settle(work)
    known = work.store.state().of(item.sha256)
    assert known is not None and known.standing == "on trial"


def test_a_person_may_refuse_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = device_at(tmp_path / "device", monkeypatch)
    work = using(device)
    file = packed_settings(tmp_path, {"kiosk": {"unit": "g/dL"}})
    item = waiting(work, file, offered(file, "settings", "site"))
    assert refuse(work, item.sha256, by="grace").by == "grace"
    with pytest.raises(PublicationError):
        put_in_use(work, item.sha256)
    assert load_device(None).kiosk.unit == "g/L"


def test_a_damaged_state_knows_nothing_and_hinders_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device_at(tmp_path, monkeypatch)
    store = PublishedStore(tmp_path)
    store.path.mkdir()
    (store.path / "state.json").write_text("{")
    assert store.state().items == ()
    file = packed_settings(tmp_path, {"kiosk": {"unit": "g/dL"}})
    store.note(offered(file, "settings", "site"))
    assert len(store.state().items) == 1


def test_the_test_slide_is_compared_as_a_whole() -> None:
    assert not list(faults_of(NUMBERS, NUMBERS)) and not list(faults_of(NUMBERS, None))
    one = NUMBERS.model_copy(update={"fields": NUMBERS.fields[:1]})
    assert "1 fields" in next(faults_of(one, NUMBERS))
    refused = NUMBERS.fields[0].model_copy(update={"accepted": False})
    dark = NUMBERS.model_copy(update={"fields": (refused, NUMBERS.fields[1])})
    assert "is refused, accepted expected" in next(faults_of(dark, NUMBERS))
    none = NUMBERS.model_copy(
        update={"fields": tuple(f.model_copy(update={"counts": {}}) for f in NUMBERS.fields)}
    )
    assert "no red cells" in next(faults_of(none, None))
    assert sum("found" in fault for fault in faults_of(none, NUMBERS)) == 2
