"""A bundle is staged over simulated kiosks, halted by what it does there, and rolled back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from edgehemo.bundle.bundle import MANIFEST_NAME, SHIPPED_BUNDLE, SIGNATURE_NAME, load_bundle
from edgehemo.bundle.manifest import Manifest
from edgehemo.bundle.signatures import (
    DEFAULT_KEY_NAME,
    KEYS_VARIABLE,
    PRIVATE_SUFFIX,
    PrivateKey,
    new_key,
    read_private_key,
    signature_text,
)
from edgehemo.files.atomic import sha256_of_file
from edgehemo.published.slide import SlideNumbers, read_slide
from edgehemo_laboratory.clock import now
from edgehemo_laboratory.enrolment.certificates import Certificates
from edgehemo_laboratory.enrolment.kiosks import add_kiosk
from edgehemo_laboratory.simulated.steered import SteeredKiosk
from edgehemo_laboratory.steering.changing import roll_back
from edgehemo_laboratory.steering.findings import kiosks_in
from edgehemo_laboratory.steering.kept import Publication, publication
from edgehemo_laboratory.steering.output import StagedOutput
from edgehemo_laboratory.steering.publishing import Plan, next_serial, prepared_bundle, publish
from edgehemo_laboratory.steering.stages import Stage
from edgehemo_laboratory.storage.interface import Storage

T = TypeVar("T")


class With(Protocol):
    """Does something with the laboratory's storage."""

    def __call__(self, work: Callable[[Storage], Awaitable[T]]) -> T: ...


NAME = "staged"
ALL = (Stage(share=1.0, wait_s=0),)
STAGES = (Stage(share=0.1, wait_s=0, used_share=0.5), Stage(share=1.0, wait_s=0))
# Of the kiosks one in so many finds fault with the second bundle.
FAULTY = 2
_ROUNDS = 3


def staged_over(
    with_storage: With,
    certificates: Certificates,
    address: str,
    folder: Path,
    count: int,
    said: Callable[[str], None],
) -> StagedOutput:
    """Do all of it in a folder, at the laboratory of an address."""
    folder.mkdir(parents=True, exist_ok=True)
    with _keys(folder / "keys") as key:
        kiosks = [
            SteeredKiosk(folder / f"staged-{number}", f"staged-{number}", number)
            for number in range(1, count + 1)
        ]
        for number, kiosk in enumerate(kiosks):
            _come(with_storage, certificates, kiosk, address, ("north", "south")[number % 2])
        numbers: list[SlideNumbers] = []

        def reads(path: Path) -> SlideNumbers:
            # The same models under each serial: read once.
            if not numbers:
                numbers.append(read_slide(path))
            return numbers[0]

        first = with_storage(lambda storage: _published(storage, folder, key, ALL, reads))
        _visit(kiosks, 2)
        said(f"{first.called} is in use on {_using(kiosks, first)} of {count} staged kiosks")
        second = with_storage(lambda storage: _published(storage, folder, key, STAGES, reads))
        for number, kiosk in enumerate(kiosks):
            kiosk.fails = {second.serial: "self-check"} if number % FAULTY == 0 else {}
        for _ in range(_ROUNDS):
            _visit(kiosks, 1)
        second = with_storage(lambda storage: publication(storage, second.number))
        there = with_storage(lambda storage: kiosks_in(storage, second))
        offered = [each for each in there if each.offered_at_s is not None]
        fell = sum(each.standing == "fell back" for each in offered)
        took = _using(kiosks, second)
        said(
            f"{second.called} came to {len(offered)} of them and is {second.state}"
            + (f": {second.why}" if second.why else "")
        )
        third = None
        if took:
            third = with_storage(
                lambda storage: roll_back(
                    storage, second.number, key, "the demonstration", by=NAME, reads=reads
                )
            )
            _visit(kiosks, 2)
        earlier = sum(_holds(kiosk, folder / f"bundle-{first.serial}") for kiosk in kiosks)
        said(f"{earlier} of {count} run what {first.called} holds")
        return StagedOutput(
            kiosks=count,
            first=first.serial,
            second=second.serial,
            third=None if third is None else third.serial,
            offered=len(offered),
            fell_back=fell,
            took=took,
            halted=second.why,
            earlier=earlier,
            lost=count - earlier,
        )


def _come(
    with_storage: With, certificates: Certificates, kiosk: SteeredKiosk, address: str, site: str
) -> None:
    kiosk.set_up()
    if not kiosk.is_enrolled():
        code = with_storage(
            lambda storage: add_kiosk(storage, certificates, kiosk.name, site, by=NAME)
        )
        kiosk.enrol(address, code)
        kiosk.takes_by_itself()


def _visit(kiosks: list[SteeredKiosk], times: int) -> None:
    for _ in range(times):
        for kiosk in kiosks:
            kiosk.visit()


def _using(kiosks: list[SteeredKiosk], kept: Publication) -> int:
    return sum(kiosk.runs().sha256 == kept.digest for kiosk in kiosks)


def _holds(kiosk: SteeredKiosk, wanted: Path) -> bool:
    """Whether a kiosk runs a bundle with these files, under whatever serial."""
    runs = kiosk.runs()
    for there in (kiosk.folder / "data" / "bundles").glob(f"*-{runs.sha256[:12]}"):
        return load_bundle(there).digests() == load_bundle(wanted).digests()
    return False


async def _published(
    storage: Storage,
    folder: Path,
    key: PrivateKey,
    stages: tuple[Stage, ...],
    reads: Callable[[Path], SlideNumbers],
) -> Publication:
    serial = await next_serial(storage, "bundle", NAME)
    bundle = _bundle(folder / f"bundle-{serial}", serial, key)
    # Only those that belong to it: the laboratory's other kiosks trust another key.
    rows = await storage.rows("SELECT name FROM kiosk WHERE name LIKE 'staged-%'")
    plan = Plan(stages=stages, kiosks=[row[0] for row in rows])
    return await publish(storage, prepared_bundle(bundle, reads), plan, by=NAME)


def _bundle(folder: Path, serial: int, key: PrivateKey) -> Path:
    """The cell finder of the shipped bundle, alone and signed: small enough for many kiosks."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shipped = load_bundle()
    finder = shipped.model("cell_finder")
    finder = finder.model_copy(
        update={
            "samples": None,
            "model_card": None,
            "artefacts": [each for each in finder.artefacts if each.format == "onnx"],
        }
    )
    for artefact in finder.artefacts:
        shutil.copyfile(SHIPPED_BUNDLE / artefact.file, folder / artefact.file)
    note = folder / "note.txt"
    note.write_text(f"made as serial {serial}\n", "utf-8")
    made: Manifest = shipped.manifest.model_copy(
        update={
            "name": NAME,
            "serial": serial,
            "created_at": now().replace(microsecond=0),
            "models": [finder],
            "files": {"note.txt": sha256_of_file(note)},
        }
    )
    raw = (made.model_dump_json(indent=2) + "\n").encode()
    (folder / MANIFEST_NAME).write_bytes(raw)
    (folder / SIGNATURE_NAME).write_text(signature_text(raw, key), "utf-8")
    return folder


@contextmanager
def _keys(folder: Path) -> Iterator[PrivateKey]:
    """A key of its own, which this process trusts meanwhile."""
    before = os.environ.get(KEYS_VARIABLE)
    os.environ[KEYS_VARIABLE] = str(folder.absolute())
    try:
        private = folder / f"{DEFAULT_KEY_NAME}{PRIVATE_SUFFIX}"
        if not private.is_file():
            new_key(folder, DEFAULT_KEY_NAME)
        yield read_private_key(private)
    finally:
        if before is None:
            del os.environ[KEYS_VARIABLE]
        else:
            os.environ[KEYS_VARIABLE] = before
