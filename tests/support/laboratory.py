"""A laboratory for tests: storages, kiosks that are known to it, results as kiosks send them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from nacl.signing import SigningKey

from edgehemo.interop.laboratory import ENROLMENT_PROOF, Batch, Enrolment, Item
from edgehemo.interop.pairing import PairingCode
from edgehemo.records.audit import canonical
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.enrolment.kiosks import Kiosk, add_kiosk, enrol, kiosk_named
from edgehemo_laboratory.storage import open_storage
from edgehemo_laboratory.storage.interface import Storage

T = TypeVar("T")
STORE = "5464c0d4d2e54ec2975ecbadca4bb94f"


def with_storage(where: str | Path, work: Callable[[Storage], Awaitable[T]]) -> T:
    """Do something with a storage, which is closed afterwards."""

    async def run() -> T:
        storage = await open_storage(str(where))
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(run())


def certificates(folder: Path) -> Certificates:
    made = Certificates(folder)
    made.make(["localhost", "127.0.0.1"])
    return made


def enrolment(code: PairingCode, key: SigningKey | None = None, **given: Any) -> Enrolment:
    """What a kiosk says when it comes."""
    key = SigningKey.generate() if key is None else key
    signed = key.sign(ENROLMENT_PROOF + code.secret.encode()).signature
    values = {
        "secret": code.secret,
        "public_key": base64.b64encode(bytes(key.verify_key)).decode(),
        "proof": base64.b64encode(signed).decode(),
        "device": "kiosk",
        "software_version": "0.1.0",
        **given,
    }
    return Enrolment.model_validate(values)


async def enrolled(
    storage: Storage, made: Certificates, name: str = "clinic-1", **policy: Any
) -> Kiosk:
    """A kiosk that came with its code."""
    policy = {"site": "north", "identified": True, **policy}
    code = await add_kiosk(storage, made, name, by="grace", **policy)
    await enrol(storage, made, enrolment(code))
    return await kiosk_named(storage, name)


def result(number: int = 1, version: int = 2, **given: Any) -> dict[str, Any]:
    """A result as a kiosk sends it: few of its keys, all that a laboratory looks at."""
    changes = ["recorded", "signed", *["corrected"] * 100][: version - 1]
    last = given.pop("change", "signed" if version == 2 else "corrected")
    state = {"withdrawn": "withdrawn", "held": "held"}.get(last, "signed")
    versions = [
        {
            "version": at + 1, "state": state, "change": change, "sample": f"S-{number}",
            "at": f"2026-11-20T09:{at:02d}:00+00:00", "by": "sup", "amendments": {}, "reason": "",
            "clock": "set", "audit": at + 1,
        }
        for at, change in enumerate([*changes, last])
    ]  # fmt: skip
    hgb = {"value": 100.0 + number + version, "low": 90.0, "high": 130.0}
    return {
        "schema": "edgehemo.sent-result/1",
        "store": STORE,
        "identified": True,
        "id": f"{number:04d}-aaaa-bbbb-cccc",
        "version": version,
        "state": state,
        "outcome": "reported",
        "sample": f"S-{number}",
        "site": None,
        "operator": "amina",
        "device": "kiosk",
        "made_at": "2026-11-20T09:30:00+00:00",
        "clock": "set",
        "simulated": False,
        "software_version": "0.1.0",
        "bundle_sha256": "ab" * 32,
        "profile_sha256": None,
        "person": {"age_years": 30.0, "altitude_m": 0.0, "sex": "female"},
        "versions": versions,
        "record": {
            "sample": {
                "accepted": 1, "refused": 0, "hgb_g_per_l": hgb, "hct_l_per_l": None,
                "rbc_1e12_per_l": None, "indices": {"hgb_index": 0.06},
            },
            "labels": {"sample": f"S-{number}", "operator": "amina", "site": None},
            "provenance": {"created_at": "2026-11-20T09:30:00+00:00"},
            "images": [
                {
                    "image": "field.png",
                    "checks": [{"name": "focus", "value": 2.0, "verdict": "pass", "code": ""}],
                    "cell_types": {"rbc": {"normal": 60}},
                }
            ],
            "withheld": None,
            "anaemia": {"grade": "mild"},
        },
        **given,
    }  # fmt: skip


def item(sequence: int, said: dict[str, Any]) -> Item:
    body = canonical(said).encode()
    digest = hashlib.sha256(body).hexdigest()
    return Item(sequence=sequence, identity=digest, sha256=digest, result=msgspec.Raw(body))


def batch(*items: Item, store: str = STORE) -> Batch:
    return Batch(
        store=store,
        device="kiosk",
        software_version="0.1.0",
        sent_at="2026-11-20T10:00:00+00:00",
        items=items,
    )


def table(rows: list[tuple[Any, ...]]) -> str:
    """Rows as text, to be compared."""
    return json.dumps([list(row) for row in rows], default=str, indent=1)
