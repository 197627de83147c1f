"""A kiosk that runs takes by itself what its laboratory publishes: nothing is stood in for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from edgehemo.device.configuration import configured_by, load_device
from edgehemo.published.state import Published, PublishedStore
from edgehemo.published.terms import FAILED, Standing
from edgehemo.words.language import LANGUAGES
from edgehemo_laboratory.steering.kept import publications
from edgehemo_laboratory.steering.publishing import (
    Plan,
    Prepared,
    prepared_bundle,
    prepared_package,
    publish,
)
from edgehemo_laboratory.steering.stages import Stage
from tests.lab.kiosk_browser import (
    FAULTS,
    SUPERVISOR_PIN,
    at,
    begin_sample,
    go_on,
    keys,
    served,
    touched,
)
from tests.support.bundle_makers import signing_key
from tests.support.laboratory import with_storage
from tests.support.laboratory_process import KioskAt, Laboratory, come, laboratory
from tests.support.publications import changed_words, packed_bundle

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

ALL = Plan(stages=(Stage(share=1.0, wait_s=0),))
# A kiosk visits at once where the last visit moved something, else every ten minutes.
WITHIN_S = 180.0


def publishes(lab: Laboratory, file: Prepared) -> None:
    storage = lab.folder / "laboratory.sqlite3"
    with_storage(storage, lambda opened: publish(opened, file, ALL, by="engineer"))


def until(data: Path, says: Callable[[dict[str, Published]], bool]) -> dict[str, Published]:
    """Wait until the device's publications stand as wanted: by kind and serial."""
    end = time.monotonic() + WITHIN_S
    while True:
        items = {f"{e.kind} {e.serial}": e for e in PublishedStore(data).state().items}
        if says(items):
            return items
        assert time.monotonic() < end, {name: (e.standing, e.words) for name, e in items.items()}
        time.sleep(0.5)


def enrolled(lab: Laboratory, folder: Path) -> str:
    """Enrol the device of the folder; its receiver as lines of a configuration."""
    kiosk = KioskAt(folder / "data")
    with configured_by(kiosk.file):
        come(kiosk, lab)
    text = kiosk.file.read_text("utf-8")
    return text[text.index("[[receivers]]") :] + 'publications = "by itself"\n'


def test_what_is_published_is_fetched_put_in_use_and_judged_by_the_self_check(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with laboratory(tmp_path / "lab") as lab:
        receiver = enrolled(lab, tmp_path)
        good = prepared_bundle(packed_bundle(tmp_path, 1))
        publishes(lab, good)
        words = changed_words("Se déconnecter", "Se deconnecter ")
        publishes(lab, prepared_package("language", "fr", 1, words, signing_key()))
        sent = {"schema": "edgehemo.sent-settings/1", "values": {"kiosk": {"unit": "g/dL"}}}
        content = json.dumps(sent).encode()
        publishes(lab, prepared_package("settings", "site", 1, content, signing_key()))
        with served(tmp_path, more=receiver) as address:
            found = until(
                data,
                lambda items: (
                    {name: each.standing for name, each in items.items()}
                    == {"bundle 1": "on trial", "language 1": "in use", "settings 1": "in use"}
                ),
            )
            assert found["bundle 1"].expected == good.expected
            device = load_device(tmp_path / "device.toml")
            assert device.kiosk.unit == "g/dL"
            with touched(address, "fr") as page:
                # The words that came are those of the page, and the unit that of the kiosk.
                page.locator("button[value=Grace]").tap()
                at(page, "pin")
                keys(page, SUPERVISOR_PIN)
                go_on(page)
                at(page, "home")
                assert "Se deconnecter" in page.locator("body").inner_text()
                page.locator(".areas form:has([name=area][value=updates]) button").tap()
                at(page, "updates")
                assert page.locator(".row-link").count() == 3
                assert page.evaluate(FAULTS) == []
                page.screenshot(path=str(tmp_path / "updates.png"))
                page.locator("footer form:has([name=do][value=leave]) button").tap()
                at(page, "home")
                begin_sample(page)
                keys(page, "32")
                page.locator("input[value=female]").tap()
                go_on(page)
                page.wait_for_selector(".checks li:nth-child(6)")
                # The first self-check with it judges it.
                until(data, lambda items: items["bundle 1"].standing == "in use")
        said = lab.says("publications", "--all", "--json", "-")
        assert json.loads(said)["publications"]


def test_every_standing_fits_in_every_language(tmp_path: Path) -> None:
    data = tmp_path / "data"
    store = PublishedStore(data)
    standings = get_args(Standing)
    for serial, standing in enumerate(standings, start=1):
        words = "hgb_index: 0.05816, 0.1163 expected" if standing in FAILED else ""
        store.note(
            Published(
                sha256=f"{serial:064x}", kind="bundle", name="edgehemo", serial=20261100 + serial,
                bytes=1, origin="laboratory", standing=standing, signed_by="laboratory (0a)",
                words=words,
            )
        )  # fmt: skip
    found: list[str] = []
    with served(tmp_path) as address, touched(address) as page:
        page.locator("button[value=Grace]").tap()
        at(page, "pin")
        keys(page, SUPERVISOR_PIN)
        go_on(page)
        at(page, "home")
        for language in (*LANGUAGES, "en"):
            page.context.add_cookies(
                [{"name": "edgehemo-language", "value": language, "url": address}]
            )
            page.goto(address)
            at(page, "home")
            found += [f"home {language}: {each}" for each in page.evaluate(FAULTS)]
        page.locator(".areas form:has([name=area][value=updates]) button").tap()
        at(page, "updates")
        for language in LANGUAGES:
            page.context.add_cookies(
                [{"name": "edgehemo-language", "value": language, "url": address}]
            )
            for serial, standing in enumerate(standings, start=1):
                # A list has four to a page; what is chosen may stand on another one.
                for number in (1, 2, 3):
                    page.goto(f"{address}area/updates/?page={number}&of={serial:064x}")
                    found += [f"{language} {standing}: {each}" for each in page.evaluate(FAULTS)]
            page.screenshot(path=str(tmp_path / f"updates-{language}.png"))
    assert found == []


def test_a_bundle_with_other_numbers_is_refused_and_the_laboratory_halts_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with laboratory(tmp_path / "lab") as lab:
        receiver = enrolled(lab, tmp_path)
        file = prepared_bundle(packed_bundle(tmp_path, 1))
        assert file.expected is not None
        wrong = file.expected.model_copy(
            update={"indices": {name: 2 * each for name, each in file.expected.indices.items()}}
        )
        publishes(lab, prepared_bundle(packed_bundle(tmp_path, 2), lambda _: wrong))
        with served(tmp_path, more=receiver):
            found = until(data, lambda items: any(e.standing == "refused" for e in items.values()))
            assert "expected" in found["bundle 2"].words
            end = time.monotonic() + WITHIN_S
            while True:
                (kept,) = with_storage(lab.folder / "laboratory.sqlite3", publications)
                if kept.state == "halted":
                    break
                assert time.monotonic() < end, kept
                time.sleep(1.0)
            assert "HALTED" in lab.says("publications", "--all", code=1)
