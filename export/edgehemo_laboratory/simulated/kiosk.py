"""A simulated kiosk: a device configuration and records of its own; screening, signing, enrolling
and sending are the device's code.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgehemo.anaemia.who_grade import Person
from edgehemo.api import screen_sources
from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.capture.simulated import SimulatedOptions, format_simulated
from edgehemo.demo.demonstration import SIMULATED_PROFILE
from edgehemo.device.configuration import (
    ENVIRONMENT_VARIABLE,
    DeviceConfiguration,
    load_device,
)
from edgehemo.device.receivers import is_enrolled
from edgehemo.interop.access import OwnWriter
from edgehemo.interop.enrolling import enrol
from edgehemo.interop.lane import lanes_of
from edgehemo.interop.outbox import counts, noting
from edgehemo.interop.pairing import PairingCode
from edgehemo.interop.sending import send_once
from edgehemo.interop.states import OPEN
from edgehemo.interop.steered import Steered
from edgehemo.interop.visiting import Visits
from edgehemo.records.results import Change
from edgehemo.records.store import Store
from edgehemo.records.versions import Amendments, change
from edgehemo.screening.labels import SampleLabels

# What each sample is screened on: enough to give a result, few enough to be quick.
FIELDS = 2
_SUPERVISOR = "Grace"


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of sending. waiting: still open. refused: there."""

    delivered: int
    waiting: int
    refused: int


@dataclass
class SimulatedKiosk:
    """One. folder: its own. seed: of its slides."""

    folder: Path
    name: str
    seed: int

    @property
    def _file(self) -> Path:
        return self.folder / "device.toml"

    def set_up(self) -> None:
        """Write its configuration, where there is none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._file.exists():
            self._file.write_text(
                f'schema = "edgehemo.device/1"\nname = {json.dumps(self.name)}\n'
                f'board = "workstation"\n[paths]\ndata = {json.dumps(str(self.folder / "data"))}\n'
                f"profile = {json.dumps(str(SIMULATED_PROFILE))}\n",
                "utf-8",
            )

    @contextlib.contextmanager
    def _here(self) -> Iterator[DeviceConfiguration]:
        """The device's code goes by the configuration that the environment names."""
        before = os.environ.get(ENVIRONMENT_VARIABLE)
        os.environ[ENVIRONMENT_VARIABLE] = str(self._file.resolve())
        try:
            yield load_device(None)
        finally:
            if before is None:
                del os.environ[ENVIRONMENT_VARIABLE]
            else:
                os.environ[ENVIRONMENT_VARIABLE] = before

    def is_enrolled(self) -> bool:
        """Whether it came to a laboratory already."""
        with self._here() as device:
            return any(is_enrolled(each) for each in device.receivers)

    def screened(self) -> int:
        """How many samples it has screened."""
        with self._here() as device:
            store = Store.below(device.data_dir)
            if not store.folder.exists():
                return 0
            with store.reader() as reader:
                return int(reader.rows("SELECT count(*) FROM result")[0][0])

    def enrol(self, address: str, code: PairingCode) -> None:
        """Come to the laboratory of an address."""
        with self._here() as device:
            enrol(device, address, code, pictures=True, simulated=True)

    def screen(self, number: int) -> str:
        """Screen and sign a sample; what its result is called."""
        slide = SimulatedOptions(seed=self.seed + number, fields=FIELDS)
        with self._here():
            done = screen_sources(
                [format_simulated(slide)],
                None,
                bundle=SHIPPED_BUNDLE,
                person=Person(age_years=30.0, sex="female"),
                fields=FIELDS,
                labels=SampleLabels(sample=f"{self.name}-{number + 1}", operator="amina"),
                record=True,
            )
            assert done.recorded is not None, "a simulated field can be read"
            result_id = done.recorded.result_id
        self._change(result_id, "signed")
        return result_id

    def correct(self, result_id: str) -> None:
        """Another comment, which makes a new version."""
        comment = Amendments(comment="read again")
        self._change(result_id, "corrected", "the comment was missing", comment)

    def withdraw(self, result_id: str) -> None:
        """It is not to be used any more."""
        self._change(result_id, "withdrawn", "the wrong slide")

    def _change(
        self, result_id: str, what: Change, reason: str = "", given: Amendments | None = None
    ) -> None:
        with self._here() as device, Store.below(device.data_dir).writer() as writer:
            change(
                writer, result_id, what, by=_SUPERVISOR, reason=reason, amendments=given,
                hooks=noting(device.receivers),
            )  # fmt: skip

    def send(self) -> Sent:
        """Send what is due, as `edgehemo outbox send --once` does."""
        with self._here() as device:
            store = Store.below(device.data_dir)
            access = OwnWriter(store, lambda _: None)
            with lanes_of(device.receivers, access, device.name) as lanes:
                send_once(lanes)
            with store.reader() as reader:
                found = {
                    state: number
                    for states in counts(reader).values()
                    for state, number in states.items()
                }
        waiting = sum(found.get(state, 0) for state in OPEN)
        return Sent(found.get("delivered", 0), waiting, found.get("refused", 0))

    def visit(self) -> None:
        """Ask the laboratory what there is to do, and do it."""
        with self._here() as device:
            access = OwnWriter(Store.below(device.data_dir), lambda _: None)
            for receiver in device.receivers:
                steered = Steered(receiver)
                Visits(receiver, access, device.name, configuration=device, steered=steered).turn()
