"""A publication is fetched in parts, whole or not at all, and put in use as the owner allows."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import edgehemo.interop.fetching as fetching
from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.device.receivers import Receiver
from edgehemo.errors import PublicationError
from edgehemo.interop.fetching import FetchStopped, fetch
from edgehemo.interop.laboratory import Offer, Visit, Visited, message_of, plain_visit
from edgehemo.interop.receivers.https import HttpAnswer
from edgehemo.interop.states import Failed
from edgehemo.interop.steered import DIGEST_TRIES, Occasion, Steered
from edgehemo.published.noting import note_of
from edgehemo.published.state import Published, PublishedStore
from edgehemo.published.using import Using
from tests.support.bundle_makers import signing_key
from tests.support.publications import (
    NUMBERS,
    FileRoad,
    device_at,
    offered,
    packed_bundle,
    packed_settings,
)

ADDRESS = "https://laboratory.example"
UNIT = {"kiosk": {"unit": "g/dL"}}


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeviceConfiguration:
    monkeypatch.setattr(fetching, "PART_BYTES", 100)
    signing_key()
    return device_at(tmp_path / "device", monkeypatch)


def test_what_was_broken_off_goes_on_where_it_was(
    tmp_path: Path, device: DeviceConfiguration
) -> None:
    file = packed_settings(tmp_path, UNIT)
    item, store, road = offered(file, "settings", "site"), PublishedStore(device.data_dir), None
    road = FileRoad(file)
    for broken in (
        Failed("RECEIVER_SILENT", "cut off"),
        HttpAnswer(200, file.read_bytes()),
        HttpAnswer(206, file.read_bytes()[:7]),
        HttpAnswer(503, b"later"),
    ):
        road.broken = [HttpAnswer(206, file.read_bytes()[:100]), broken]
        with pytest.raises(FetchStopped):
            fetch(road, ADDRESS, item, store, device)
        assert store.part(item.sha256).stat().st_size == 100
        road.broken = [broken]
        with pytest.raises(FetchStopped):
            fetch(road, ADDRESS, item, store, device)
        store.part(item.sha256).write_bytes(file.read_bytes()[:100])
        store.part(item.sha256).unlink()
    road.broken = [HttpAnswer(206, file.read_bytes()[:100]), Failed("RECEIVER_SILENT", "cut off")]
    with pytest.raises(FetchStopped):
        fetch(road, ADDRESS, item, store, device)
    road.asked.clear()
    assert fetch(road, ADDRESS, item, store, device).read_bytes() == file.read_bytes()
    assert road.asked[0] == "bytes=100-199" and not store.part(item.sha256).exists()
    road.asked.clear()
    fetch(road, ADDRESS, item, store, device)
    assert not road.asked


def test_what_has_another_digest_is_let_go_of(tmp_path: Path, device: DeviceConfiguration) -> None:
    file = packed_settings(tmp_path, UNIT)
    item, store = offered(file, "settings", "site"), PublishedStore(device.data_dir)
    other = tmp_path / "other"
    other.write_bytes(b"x" * item.bytes)
    road = FileRoad(file)
    road.files[item.sha256] = other
    with pytest.raises(PublicationError, match="digest differs"):
        fetch(road, ADDRESS, item, store, device)
    assert not store.part(item.sha256).exists() and not store.file(item.sha256).exists()


def test_the_records_keep_their_space(
    tmp_path: Path, device: DeviceConfiguration, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = packed_settings(tmp_path, UNIT)
    item, store, road = offered(file, "settings", "site"), PublishedStore(device.data_dir), None
    road = FileRoad(file)
    monkeypatch.setattr(fetching, "free_mb", lambda _: 2000.0)
    with pytest.raises(FetchStopped, match="2000 MB are free"):
        fetch(road, ADDRESS, item, store, device)
    assert not road.asked
    monkeypatch.setattr(fetching, "free_mb", lambda _: 9000.0)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgehemo.interop.fetching.os.fsync", full)
    with pytest.raises(FetchStopped, match="no space left"):
        fetch(road, ADDRESS, item, store, device)
    assert not store.part(item.sha256).exists()


def test_nothing_is_fetched_while_a_sample_is_screened(
    tmp_path: Path, device: DeviceConfiguration
) -> None:
    file = packed_settings(tmp_path, UNIT)
    item, store = offered(file, "settings", "site"), PublishedStore(device.data_dir)
    answers = iter([True, False])
    with pytest.raises(FetchStopped, match="screened"):
        fetch(FileRoad(file), ADDRESS, item, store, device, lambda: next(answers))
    assert store.part(item.sha256).stat().st_size == 100


@dataclass
class Laboratory:
    """One that offers some files to a device that was enrolled there."""

    files: list[Path]
    policy: str = "asked"
    occasion: Occasion = field(default_factory=Occasion)
    told: list[Published] = field(default_factory=list)

    def __post_init__(self) -> None:
        values: dict[str, Any] = {
            "name": "laboratory", "kind": "laboratory", "address": ADDRESS,
            "publications": self.policy,
        }  # fmt: skip
        self.road = FileRoad(*self.files)
        self.steered = Steered(
            Receiver.model_validate(values), occasion=self.occasion, told=self.told.append,
            using=lambda device: Using(device, reads=lambda _: NUMBERS),
        )  # fmt: skip

    def visit(self, *items: Published) -> bool:
        offers = [
            Offer(
                sha256=each.sha256, kind=each.kind, name=each.name, serial=each.serial,
                bytes=each.bytes, expected=each.expected,
            )
            for each in items
        ]  # fmt: skip
        return self.steered.offered(offers, self.road)

    def standings(self) -> list[str]:
        return [each.standing for each in PublishedStore(load_device(None).data_dir).state().items]


def test_by_default_a_person_at_the_kiosk_is_asked(
    tmp_path: Path, device: DeviceConfiguration
) -> None:
    file = packed_settings(tmp_path, UNIT)
    item = offered(file, "settings", "site")
    at = Laboratory([file])
    assert at.visit(item) and at.standings() == ["waiting"]
    assert not at.visit(item) and len(at.told) == 1
    assert load_device(None).kiosk.unit == "g/L"
    assert at.steered.running().outcomes[0].standing == "waiting"
    # The laboratory halts it: what waits is let go of, and comes again where it is offered again.
    assert at.visit() and at.standings() == ["withdrawn"]
    assert at.visit(item) and at.standings() == ["waiting"]


def test_by_itself_it_is_put_in_use_when_nobody_works(
    tmp_path: Path, device: DeviceConfiguration
) -> None:
    settings, bundle = packed_settings(tmp_path, UNIT), packed_bundle(tmp_path, 1)
    items = (
        offered(settings, "settings", "site"),
        offered(bundle, "bundle", "small", expected=NUMBERS),
    )
    nobody: list[bool] = []
    at = Laboratory([settings, bundle], "by itself", Occasion(switching=lambda: bool(nobody)))
    at.visit(*items)
    assert at.standings() == ["waiting", "waiting"]
    nobody.append(True)
    assert at.visit(*items) and at.standings() == ["in use", "on trial"]
    assert load_device(None).kiosk.unit == "g/dL"
    noted = [note_of(each) for each in at.told]
    assert [each[0] for each in noted if each is not None] == [
        "configuration changed", "bundle changed",
    ]  # fmt: skip
    # Halted afterwards: what is in use stays until another takes its place.
    assert not at.visit() and at.standings() == ["in use", "on trial"]


def test_who_wants_nothing_gets_nothing(tmp_path: Path, device: DeviceConfiguration) -> None:
    file = packed_settings(tmp_path, UNIT)
    at = Laboratory([file], "never")
    assert not at.visit(offered(file, "settings", "site")) and not at.road.asked
    assert at.steered.running().policy == "never"


def test_a_wrong_digest_is_refused_after_some_tries(
    tmp_path: Path, device: DeviceConfiguration
) -> None:
    file = packed_settings(tmp_path, UNIT)
    item = offered(file, "settings", "site")
    at = Laboratory([file])
    other = tmp_path / "other"
    other.write_bytes(b"x" * item.bytes)
    at.road.files[item.sha256] = other
    for number in range(DIGEST_TRIES):
        assert at.visit(item) == (number == DIGEST_TRIES - 1)
    assert at.standings() == ["refused"]
    asked = len(at.road.asked)
    assert not at.visit(item) and len(at.road.asked) == asked


def test_a_full_disk_is_told_and_ends_nothing(
    tmp_path: Path, device: DeviceConfiguration, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = packed_settings(tmp_path, UNIT)
    item = offered(file, "settings", "site")
    at = Laboratory([file])
    monkeypatch.setattr(fetching, "free_mb", lambda _: 10.0)
    at.visit(item)
    (outcome,) = at.steered.running().outcomes
    assert outcome.standing == "offered" and "10 MB are free" in outcome.words
    monkeypatch.undo()
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device.data_dir / "device.toml"))
    monkeypatch.setenv("EDGEHEMO_KEYS", str(tmp_path))
    at.visit(item)
    # Keys of another place: nobody whom this device trusts signed it.
    assert at.standings() == ["refused"]


def visit_of(**given: Any) -> Visit:
    values: Mapping[str, Any] = {
        "store": "s", "device": "d", "software_version": "0.1.0", "sent_at": "now", "noted": 0,
    }  # fmt: skip
    return Visit(**{**values, **given})


def test_both_sides_stay_understood_by_their_elders(device: DeviceConfiguration) -> None:
    at = Laboratory([])
    said = visit_of(running=at.steered.running())
    plain = plain_visit(said).model_dump(exclude_none=True)
    assert "running" not in plain and "running" in said.model_dump()
    assert message_of(Visit, b"%s" % said.model_dump_json().encode()) == said
    old = Visited(laboratory=("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",))
    assert old.offers is None
