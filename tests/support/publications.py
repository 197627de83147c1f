"""Publications for tests: words, settings and bundles as a laboratory signs them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgehemo.bundle.signatures import PrivateKey
from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.device.installed_bundles import pack
from edgehemo.guidance.catalogue import DOMAIN, LOCALE_DIR
from edgehemo.interop.laboratory import PUBLISHED_PATH
from edgehemo.interop.receivers.https import HttpAnswer
from edgehemo.interop.states import Failed
from edgehemo.published.packages import write_package
from edgehemo.published.reports import Running, RunningBundle
from edgehemo.published.slide import SlideField, SlideNumbers
from edgehemo.published.state import Published, PublishedStore
from edgehemo.published.terms import Kind, PackagedKind
from tests.support.bundle_makers import signing_key, small_bundle

# The identifier of a key.
KEY = "0123456789abcdef"
MADE_AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
NUMBERS = SlideNumbers(
    software_version="0.1.0",
    fields=(
        SlideField(accepted=True, counts={"rbc": 150, "wbc": 1}),
        SlideField(accepted=True, counts={"rbc": 140, "wbc": 0}),
    ),
    indices={"hgb_index": 0.06},
)


def running(serial: int = 1, digest: str = "ab" * 32, **given: Any) -> Running:
    """What a kiosk says of itself."""
    values: dict[str, Any] = {
        "software_version": "0.1.0",
        "bundle": RunningBundle(name="small", serial=serial, sha256=digest, shipped=False),
        "settings_sha256": "cd" * 32,
        "keys": (KEY,),
        "policy": "by itself",
        **given,
    }
    return Running(**values)


def own_words(language: str = "fr") -> bytes:
    """The words that come with edgehemo."""
    return (LOCALE_DIR / language / "LC_MESSAGES" / f"{DOMAIN}.mo").read_bytes()


def changed_words(before: str, after: str, language: str = "fr") -> bytes:
    """Those words with one text's words exchanged for others of the same length."""
    old, new = before.encode(), after.encode()
    assert len(old) == len(new) and own_words(language).count(b"\0" + old + b"\0") == 1
    return own_words(language).replace(b"\0" + old + b"\0", b"\0" + new + b"\0")


def packed(
    folder: Path,
    kind: PackagedKind,
    content: bytes,
    *,
    name: str,
    serial: int = 1,
    key: PrivateKey | None = None,
) -> Path:
    target = folder / f"{kind}-{name}-{serial}.zip"
    write_package(
        target, kind, name, serial, content, key or signing_key(), created_at=MADE_AT,
        software_version="0.1.0",
    )  # fmt: skip
    return target


def packed_settings(folder: Path, values: Mapping[str, Any], serial: int = 1) -> Path:
    said = {"schema": "edgehemo.sent-settings/1", "values": values}
    return packed(folder, "settings", json.dumps(said).encode(), name="site", serial=serial)


def packed_bundle(
    folder: Path, serial: int = 1, key: PrivateKey | None = None, name: str = "small"
) -> Path:
    target = folder / f"{name}-{serial}.zip"
    pack(small_bundle(folder / f"{name}-{serial}", serial, key, name), target)
    return target


def device_at(folder: Path, monkeypatch: Any, text: str = "") -> DeviceConfiguration:
    """A device of its own, which the environment names."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "device.toml"
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "test"\nboard = "workstation"\n'
        f"{text}\n[paths]\ndata = {json.dumps(str(folder))}\n"
        '\n[[receivers]]\nname = "laboratory"\nkind = "laboratory"\n'
        'address = "https://laboratory.example"\n'
    )
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(file))
    return load_device(None)


def offered(file: Path, kind: Kind, name: str, serial: int = 1, **given: Any) -> Published:
    """A publication's file as it was offered."""
    data = file.read_bytes()
    values: dict[str, Any] = {
        "sha256": hashlib.sha256(data).hexdigest(), "kind": kind, "name": name, "serial": serial,
        "bytes": len(data), "origin": "laboratory", "standing": "offered", **given,
    }  # fmt: skip
    return Published(**values)


def fetched(store: PublishedStore, file: Path, item: Published) -> Published:
    """As it stands once it was fetched."""
    store.path.mkdir(parents=True, exist_ok=True)
    store.file(item.sha256).write_bytes(file.read_bytes())
    return item


class FileRoad:
    """A way to a laboratory that has some files. broken: answers that stand before its own."""

    def __init__(self, *files: Path) -> None:
        self.files = {hashlib.sha256(each.read_bytes()).hexdigest(): each for each in files}
        self.asked: list[str] = []
        self.broken: list[HttpAnswer | Failed] = []

    def send(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> HttpAnswer | Failed:
        assert method == "GET" and PUBLISHED_PATH in url
        self.asked.append(headers["range"])
        if self.broken:
            return self.broken.pop(0)
        file = self.files.get(url.rpartition("/")[2])
        if file is None:
            return HttpAnswer(404, b"")
        first, last = headers["range"].removeprefix("bytes=").split("-")
        return HttpAnswer(206, file.read_bytes()[int(first) : int(last) + 1])
