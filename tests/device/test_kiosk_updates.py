"""What the laboratory publishes, at the kiosk: shown, put in use or not, on trial, from a stick."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import get_args

import pytest

from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.signatures import PrivateKey
from edgehemo.device.configuration import load_device
from edgehemo.device.installed_bundles import BundleStore
from edgehemo.guidance.catalogue import look_in
from edgehemo.kiosk.engineering.artefacts import ArtefactsArea
from edgehemo.kiosk.state import Checked, KioskState, Sample
from edgehemo.kiosk.steering import (
    has_updates,
    is_screening,
    judge_by_checks,
    judge_by_fault,
    occasion_of,
    waiting_updates,
)
from edgehemo.kiosk.supervision.updates import setting_name, standing_words
from edgehemo.published.settings import SETTABLE
from edgehemo.published.state import Published, PublishedStore
from edgehemo.published.terms import Standing
from edgehemo.published.using import Using, check, put_in_use
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.words.language import Words
from tests.support.bundle_makers import signing_key
from tests.support.engineer_page import AtArea, engineer_at
from tests.support.publications import (
    NUMBERS,
    changed_words,
    device_at,
    fetched,
    offered,
    packed,
    packed_bundle,
    packed_settings,
)
from tests.support.supervised import posted, working

TEXT, FRENCH, CORRECTED = "Sign out", "Se déconnecter", "Se deconnecter "


@pytest.fixture(autouse=True)
def _own_words_again() -> object:
    yield
    look_in({})


def arrived(data: Path, file: Path, item: Published) -> Published:
    """What was fetched and checked."""
    store = PublishedStore(data)
    fetched(store, file, item)
    return store.note(item.model_copy(update={"standing": "waiting", "signed_by": "lab (0a)"}))


def test_a_supervisor_looks_at_it_and_puts_it_in_use_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    device_at(data, monkeypatch)
    content = changed_words(FRENCH, CORRECTED)
    words = packed(tmp_path, "language", content, name="fr", serial=2)
    site = packed_settings(tmp_path, {"kiosk": {"unit": "g/dL"}})

    async def run() -> None:
        async with working(tmp_path, "updates") as (app, browser):
            empty = (await browser.get("/area/updates/")).text
            assert "Nothing came from the laboratory yet." in empty
            language = arrived(data, words, offered(words, "language", "fr", 2))
            settings = arrived(data, site, offered(site, "settings", "site"))
            page = (await browser.get("/area/updates/")).text
            assert "Français 2" in page and "Words, waits for you" in page
            page = (await browser.get(f"/area/updates/?of={settings.sha256}")).text
            assert "Unit of haemoglobin" in page and "g/dL" in page and "laboratory" in page
            page = (await posted(browser, "updates", "refuse", of=settings.sha256)).text
            assert "It is not used." in page and "not wanted here" in page
            again = (await posted(browser, "updates", "use", of=settings.sha256)).text
            assert "This cannot be done any more." in again
            await posted(browser, "updates", "use", of=language.sha256)
            async with asyncio.timeout(30):
                while not (job := app.desk.jobs.of("updates")) or not job.ended:
                    await asyncio.sleep(0.02)
            page = (await browser.get("/area/updates/job")).text
            assert "Français 2: in use" in page
            assert Words("fr")._(TEXT) == CORRECTED
            await posted(browser, "updates", "done")
            assert app.desk.jobs.of("updates") is None
            (noted,) = [
                row[0]
                for row in app.kiosk.writer.rows(
                    "SELECT details FROM audit WHERE action = 'language changed'"
                )
            ]
            assert json.loads(noted)["published and put in use"] == "fr"
            assert (await posted(browser, "updates", "burn", of="x")).status_code == 404

    asyncio.run(run())


def test_nothing_is_put_in_use_while_a_sample_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    device_at(data, monkeypatch)
    site = packed_settings(tmp_path, {"kiosk": {"unit": "g/dL"}})

    async def run() -> None:
        async with working(tmp_path, "updates") as (app, browser):
            item = arrived(data, site, offered(site, "settings", "site"))
            occasion = occasion_of(app.kiosk)
            assert occasion.fetching() and not occasion.switching()
            state = app.kiosk.state
            reading = Sample(ref=7, owner="amina", step="analysis")
            app.kiosk.state = state.model_copy(update={"samples": (reading,)})
            page = (await posted(browser, "updates", "use", of=item.sha256)).text
            assert "A sample is read now" in page and not occasion.fetching()
            app.kiosk.state = state.model_copy(update={"session": None})
            assert occasion.fetching() and occasion.switching()
            app.kiosk.state = state

    asyncio.run(run())
    assert load_device(None).kiosk.unit == "g/L"
    assert not is_screening(KioskState(samples=(Sample(ref=1, owner="amina", step="result"),)))


def on_trial(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Using, Published]:
    device = device_at(folder / "device", monkeypatch)
    work = Using(device, reads=lambda _: NUMBERS)
    file = packed_bundle(folder, 1)
    item = fetched(work.store, file, offered(file, "bundle", "small", expected=NUMBERS))
    work.store.note(check(work, item))
    done = put_in_use(work, item.sha256)
    assert done.standing == "on trial"
    return work, done


@pytest.mark.parametrize(
    ("line", "standing", "why"),
    [
        (Checked(name="bundle", verdict="good", fact="small 1"), "in use", ""),
        (Checked(name="bundle", verdict="fails", code="BUNDLE_REFUSED"), "fell back", "REFUSED"),
        (Checked(name="bundle", verdict="good", fact="edgehemo 5"), "fell back", "edgehemo 5 was"),
        (Checked(name="camera", verdict="fails", code="LAMP_OFF"), "on trial", ""),
    ],
)
def test_the_first_self_check_judges_what_is_on_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: Checked, standing: Standing, why: str
) -> None:
    work, item = on_trial(tmp_path, monkeypatch)
    with Writer(RecordsFolder.below(work.device.data_dir)) as writer:
        judge_by_checks(work.device, writer, [line])
        left = work.store.state().of(item.sha256)
        assert left is not None and left.standing == standing and why in left.words
        noted = writer.rows("SELECT count(*) FROM audit WHERE action = 'bundle changed'")
        assert noted == [(1 if standing == "fell back" else 0,)]
    current = BundleStore(work.device.data_dir).state().current
    assert (current is None) == (standing == "fell back")


def test_a_process_that_dies_with_it_leaves_it_and_a_missing_lamp_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, item = on_trial(tmp_path, monkeypatch)
    with Writer(RecordsFolder.below(work.device.data_dir)) as writer:
        assert judge_by_fault(work.device, writer, "LAMP_OFF") is None
        left = judge_by_fault(work.device, writer, "WORKER_CRASHED")
        assert left is not None and left.standing == "fell back"
        assert judge_by_fault(work.device, writer, "WORKER_CRASHED") is None
    assert work.store.state().of(item.sha256) == left


def test_the_start_page_names_it_where_there_is_a_laboratory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = device_at(tmp_path / "device", monkeypatch)
    assert not has_updates(device)
    file = packed_settings(tmp_path, {"kiosk": {"unit": "g/dL"}})
    arrived(device.data_dir, file, offered(file, "settings", "site"))
    assert has_updates(device) and waiting_updates(device) == 1


# -- from a stick ---------------------------------------------------------------------------------


def stick_of(at: AtArea) -> Path:
    return Path(str(at.app.device.kiosk.stick))


def test_words_settings_and_a_report_go_by_stick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = signing_key()

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, ArtefactsArea()) as at:
            (tmp_path / "keys").mkdir(exist_ok=True)
            (tmp_path / "keys" / "lab.pub").write_text(key.public.line)
            stick = stick_of(at)
            content = changed_words(FRENCH, CORRECTED)
            words = packed(stick, "language", content, name="fr", serial=3, key=key)
            site = packed(
                stick, "settings", _settings({"kiosk": {"unit": "g/dL"}}), name="site", key=key
            )
            strange = packed(
                stick, "settings", _settings({"kiosk": {"unit": "g/L"}}), name="other",
                key=PrivateKey(b"s" * 32, "stranger"),
            )  # fmt: skip
            page = (await at.get("stick")).text
            assert page.count("Words") == 1 and page.count(">Settings,") == 2
            assert "It is in force now." in (await at.post("install", path=str(words))).text
            assert Words("fr")._(TEXT) == CORRECTED
            refused = (await at.post("install", path=str(strange))).text
            assert "does not trust" in refused
            assert "It is in force now." in (await at.post("install", path=str(site))).text
            assert load_device(None).kiosk.unit == at.app.device.kiosk.unit == "g/dL"
            (report,) = stick.glob("edgehemo-runs-*.json")
            said = json.loads(report.read_bytes())
            assert said["store"] == at.kiosk.writer.id
            assert [each["serial"] for each in said["running"]["languages"]] == [3]
            assert said["running"]["bundle"]["sha256"] == load_bundle().digest
            assert [each["standing"] for each in said["running"]["outcomes"]] == ["in use"] * 2
            assert at.chain("language changed")[0]["by"] == "Ines"

    asyncio.run(run())


def _settings(values: dict[str, dict[str, str]]) -> bytes:
    return json.dumps({"schema": "edgehemo.sent-settings/1", "values": values}).encode()


def test_every_setting_and_standing_has_its_words() -> None:
    words = Words("en")
    for section, key in SETTABLE:
        assert setting_name(words, section, key) != f"{section}.{key}"
    said = [standing_words(words, each) for each in get_args(Standing)]
    assert all(said) and len(set(said)) == len(said)
