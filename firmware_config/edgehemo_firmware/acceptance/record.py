"""What an acceptance keeps between power cuts, and the signed report that comes of it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from edgehemo.bundle.signatures import PublicKey, is_signed_by
from edgehemo.errors import DeviceError
from edgehemo.files.atomic import dump_json, write_bytes_atomically
from edgehemo.files.strict import Moment, Record, RecordError, Text
from edgehemo.profile.seal import sealed_content, sealing_key

State = Literal["pass", "fail", "not_possible", "left_out"]
# What is measured: numbers with their unit in the name, words, and lists of rows.
Figure = float | int | str | bool | None
ACCEPTANCE_SCHEMA: Literal["edgehemo.acceptance/1"] = "edgehemo.acceptance/1"
MAX_REPORT_BYTES = 4 * 1024 * 1024


class Outcome(Record, frozen=True, kw_only=True):
    """What came of one check. why: of a failure, or why it could not be done or was left out.
    figures: name with its unit -> value. rows: a table, one mapping a row.
    """

    check: Text
    state: State
    at: Moment
    why: str = ""
    figures: Mapping[str, Figure] = {}
    rows: tuple[Mapping[str, Figure], ...] = ()


class Armed(Record, frozen=True, kw_only=True):
    """A cut or crash that is about to come: what is compared after it. boot: the kernel's number of
    the start that it ends. number: the last one that was on the disk then.
    """

    check: Text
    boot: Text
    number: Annotated[int, Meta(ge=0)] = 0


class Run(Record, frozen=True, kw_only=True):
    """An acceptance that goes on. cuts: one row for each plug that was pulled so far."""

    schema: Literal["edgehemo.acceptance-run/1"] = "edgehemo.acceptance-run/1"
    begun_at: Moment
    by: Text
    place: str = ""
    outcomes: tuple[Outcome, ...] = ()
    armed: Armed | None = None
    cuts: tuple[Mapping[str, Figure], ...] = ()

    def outcome(self, check: str) -> Outcome | None:
        return next((each for each in self.outcomes if each.check == check), None)

    def with_outcome(self, outcome: Outcome) -> Run:
        """The run with this outcome in the place of an earlier one of the same check."""
        others = [each for each in self.outcomes if each.check != outcome.check]
        return self.model_copy(update={"outcomes": (*others, outcome)})


class Signature(Record, frozen=True, kw_only=True):
    """By the device's sealing key: its identifier, its public half and the signature, base64."""

    key: Text
    public: Text
    signature: Text


class Report(Record, frozen=True, kw_only=True):
    """The report of an acceptance. machine: board, architecture, system, Python. software:
    distribution -> version. signature: None where the device can keep no key.
    """

    schema: Literal["edgehemo.acceptance/1"] = ACCEPTANCE_SCHEMA
    begun_at: Moment
    made_at: Moment
    by: Text
    place: str = ""
    machine: Mapping[str, str]
    software: Mapping[str, str]
    outcomes: tuple[Outcome, ...]
    signature: Signature | None = None

    def content(self) -> bytes:
        """What is signed: everything but the signature, in one layout."""
        plain = self.model_copy(update={"signature": None}).model_dump()
        digest = hashlib.sha256(dump_json(plain).encode("utf-8")).hexdigest()
        return f"{ACCEPTANCE_SCHEMA} {digest}".encode("ascii")

    def signed(self) -> Report:
        """The report signed by this device; as it is where no key can be kept."""
        seal, public = sealed_content(self.content()), sealing_key()
        if seal is None or public is None:
            return self
        signature = Signature(
            key=seal.key,
            public=base64.b64encode(public.raw).decode("ascii"),
            signature=seal.signature,
        )
        return self.model_copy(update={"signature": signature})

    @property
    def signer(self) -> str | None:
        """Identifier of the key that signed it as it is; None where none did, or it was changed."""
        if self.signature is None:
            return None
        try:
            raw = base64.b64decode(self.signature.public, validate=True)
            signature = base64.b64decode(self.signature.signature, validate=True)
        except (ValueError, binascii.Error):
            return None
        key = PublicKey(raw, "")
        if key.identifier != self.signature.key:
            return None
        return key.identifier if is_signed_by(self.content(), signature, key) else None


def read_report(path: Path) -> Report:
    """A report; DeviceError for what is none."""
    try:
        data = path.read_bytes()[: MAX_REPORT_BYTES + 1]
        if len(data) > MAX_REPORT_BYTES:
            raise DeviceError(f"{path}: is larger than any report of an acceptance")
        return Report.model_validate(json.loads(data))
    except (OSError, RecordError, ValueError) as error:
        raise DeviceError(f"{path}: is no report of an acceptance ({error})") from None


def read_run(path: Path) -> Run | None:
    """The acceptance that was begun here; None where none was. DeviceError for a damaged one."""
    try:
        return Run.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, RecordError, ValueError) as error:
        raise DeviceError(f"{path}: cannot be read ({error}); begin anew with --fresh") from None


def keep(record: Run | Report, path: Path) -> None:
    """Write it so that a plug pulled at any moment leaves the one before or this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(path, dump_json(record.model_dump()).encode("utf-8"))
