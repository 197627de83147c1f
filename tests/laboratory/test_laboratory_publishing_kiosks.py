"""Kiosks take by the device's own code, over TLS, what is published; the server is killed."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edgehemo.bundle.bundle import SHIPPED_BUNDLE, load_bundle
from edgehemo.guidance.catalogue import look_in
from edgehemo.interop.laboratory import PUBLISHED_PATH, Visit
from edgehemo.interop.pairing import read_code
from edgehemo.published.state import PublishedStore
from edgehemo_laboratory.simulated.kiosk import SimulatedKiosk
from edgehemo_laboratory.simulated.steered import Failing, SteeredKiosk
from edgehemo_laboratory.steering.changing import advance, roll_back, watch
from edgehemo_laboratory.steering.kept import Publication, publications
from edgehemo_laboratory.steering.publishing import Plan, prepared_bundle, publish
from edgehemo_laboratory.steering.stages import Stage
from edgehemo_laboratory.storage.interface import Storage
from tests.support.bundle_makers import signing_key
from tests.support.laboratory import with_storage
from tests.support.laboratory_process import Laboratory, laboratory
from tests.support.publications import NUMBERS, packed_bundle

pytestmark = pytest.mark.timeout(300)

STAGES = (Stage(share=0.5, wait_s=0, used_share=0.5), Stage(share=1.0, wait_s=0))
SITES = ("north", "south")
PART_BYTES = 300_000


@pytest.fixture(autouse=True)
def _own_words_again() -> Iterator[None]:
    yield
    look_in({})


def come(
    lab: Laboratory, folder: Path, number: int, fails: dict[int, Failing] | None = None
) -> SteeredKiosk:
    name = f"clinic-{number}"
    kiosk = SteeredKiosk(folder / name, name, number, fails or {})
    kiosk.set_up()
    said = lab.says("enrol", name, "--site", SITES[number % 2], "--json", "-")
    kiosk.enrol(lab.address, read_code(said.partition('"code": "')[2].partition('"')[0]))
    kiosk.takes_by_itself()
    return kiosk


def bundle(lab: Laboratory, folder: Path, serial: int) -> Publication:
    file = prepared_bundle(packed_bundle(folder, serial), lambda _: NUMBERS)

    async def work(storage: Storage) -> Publication:
        return await publish(storage, file, Plan(stages=STAGES), by="engineer")

    return with_storage(lab.folder / "laboratory.sqlite3", work)


def test_a_bundle_is_staged_halted_by_what_it_does_and_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgehemo.interop.fetching.PART_BYTES", PART_BYTES)
    key = signing_key()
    with laboratory(tmp_path / "lab") as lab:
        storage = lab.folder / "laboratory.sqlite3"
        kiosks = [come(lab, tmp_path / "kiosks", number) for number in range(4)]
        for kiosk in kiosks:
            kiosk.fails = {1: "cut"}
        first = bundle(lab, tmp_path, 1)
        parts = 1 + first.size // PART_BYTES
        assert parts > 2
        for kiosk in kiosks:
            kiosk.visit()
        # Each download is cut after a part; and the server is killed in the middle of them.
        begun = [each for each in kiosks if list(each.folder.glob("data/published/*.part"))]
        assert begun and len(begun) < len(kiosks)
        lab.end(signal.SIGKILL)
        for kiosk in kiosks:
            kiosk.visit()
        assert all(kiosk.runs().shipped for kiosk in kiosks)
        lab.start()
        for _ in range(1 + parts):
            for kiosk in kiosks:
                kiosk.visit()
        assert all(kiosk.runs().serial == 1 for kiosk in begun)
        with_storage(storage, lambda opened: advance(opened, first.number, by="engineer"))
        for _ in range(1 + parts):
            for kiosk in kiosks:
                kiosk.visit()
        assert [kiosk.runs().serial for kiosk in kiosks] == [1, 1, 1, 1]

        # The next one fails its self-check on every kiosk that it comes to.
        for kiosk in kiosks:
            kiosk.fails = {2: "self-check" if kiosk.name in ("clinic-0", "clinic-1") else ""}
        second = bundle(lab, tmp_path, 2)
        for _ in range(3):
            for kiosk in kiosks:
                kiosk.visit()
        found = with_storage(storage, publications)
        halted = next(each for each in found if each.number == second.number)
        took = [kiosk for kiosk in kiosks if kiosk.runs().serial == 2]
        fell = [kiosk for kiosk in kiosks if (2, "fell back") in kiosk.outcomes()]
        assert fell and all(kiosk.runs().serial == 1 for kiosk in fell)
        assert halted.state == "halted" and "self-check" in halted.why
        assert len(took) + len(fell) <= 3, "it was offered to a stage alone"

        back = with_storage(
            storage,
            lambda opened: roll_back(
                opened, second.number, key, "it fails", by="engineer", reads=lambda _: NUMBERS
            ),
        ) if took else None  # fmt: skip
        for _ in range(2):
            for kiosk in kiosks:
                kiosk.visit()
        kept = set(load_bundle(tmp_path / "small-1").digests().items())
        for kiosk in kiosks:
            runs = kiosk.runs()
            assert runs.serial in ((1, back.serial) if back else (1,))
            (there,) = (kiosk.folder / "data" / "bundles").glob(f"*-{runs.sha256[:12]}")
            assert set(load_bundle(there).digests().items()) == kept, "the earlier content"
        assert lab.says("verify").endswith("all is well\n")
        said = lab.says("publications", code=1)
        assert "HALTED" in said and all(kiosk.name in said for kiosk in kiosks)
        assert with_storage(storage, watch) == []


def test_a_kiosk_reads_the_test_slide_as_it_was_read_where_it_was_published(tmp_path: Path) -> None:
    """Nothing is stood in for: the models of the shipped cell finder, on both sides."""
    with laboratory(tmp_path / "lab") as lab:
        kiosk = come(lab, tmp_path / "kiosks", 0)
        file = prepared_bundle(packed_bundle(tmp_path, 1))
        assert file.expected is not None and file.expected.fields[0].counts["rbc"] > 20
        wrong = file.expected.model_copy(
            update={"indices": {name: 2 * each for name, each in file.expected.indices.items()}}
        )
        storage = lab.folder / "laboratory.sqlite3"
        one = Plan(stages=STAGES[1:])
        with_storage(storage, lambda opened: publish(opened, file, one, by="engineer"))
        SimulatedKiosk.visit(kiosk)
        assert kiosk.outcomes() == [(1, "on trial")] and kiosk.runs().serial == 1
        other = prepared_bundle(packed_bundle(tmp_path, 2), lambda _: wrong)
        with_storage(storage, lambda opened: publish(opened, other, one, by="engineer"))
        SimulatedKiosk.visit(kiosk)
        assert kiosk.outcomes()[-1] == (2, "refused") and kiosk.runs().serial == 1
        SimulatedKiosk.visit(kiosk)
        said = lab.says("publications", "--all", code=1)
        assert "expected" in said and "HALTED" in said


def test_old_sides_and_strangers_at_the_door(tmp_path: Path) -> None:
    with laboratory(tmp_path / "lab") as lab:
        kiosk = come(lab, tmp_path / "kiosks", 0)
        made = bundle(lab, tmp_path, 1)
        data = kiosk.folder / "data"
        own = str(data / "receivers" / "laboratory" / "own.pem")
        trusted = str(data / "receivers" / "laboratory" / "laboratory.pem")
        context = ssl.create_default_context(cafile=trusted)
        context.load_cert_chain(own)
        place = f"{PUBLISHED_PATH}/{made.sha256}"
        with httpx.Client(base_url=lab.address, verify=context) as client:
            # A kiosk of an older version says nothing of what runs, and is told of no offers.
            old = Visit(store="s", device="d", software_version="0", sent_at="now", noted=0)
            said = client.post("/v1/visit", json=old.model_dump(exclude_none=True))
            assert said.status_code == 200 and "offers" not in said.json()
            assert client.get(place, headers={"range": "bytes=0-9"}).status_code == 206
            for wrong in ("", "bytes=0-", "bytes=9-3", "bytes=-5", "x"):
                assert client.get(place, headers={"range": wrong}).status_code == 416
            beyond = f"bytes={made.size}-{made.size + 5}"
            assert client.get(place, headers={"range": beyond}).status_code == 416
            other = client.get(f"{PUBLISHED_PATH}/{'0' * 64}", headers={"range": "bytes=0-9"})
            assert other.status_code == 404
        stranger = ssl.create_default_context(cafile=trusted)
        with httpx.Client(base_url=lab.address, verify=stranger) as client:
            assert client.get(place, headers={"range": "bytes=0-9"}).status_code == 403
        assert not PublishedStore(data).state().items
        assert kiosk.runs().shipped and SHIPPED_BUNDLE.is_dir()
