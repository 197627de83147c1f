"""The first check of a version: a stored slide is screened and gives the numbers it must.

``python -m edgehemo_firmware.first_check`` is run by the version that judges, in the environment of
the one that is judged; its exit code and its JSON are what versions know of one another: 0 passed,
1 it did not. The slide was drawn once (`edgehemo_firmware.stored_slide`) and lies in the package.
It is screened with the bundle that comes with the package, whatever bundle the device uses.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, EdgeHemoError
from edgehemo.files.strict import NonNegative, Record, Text

SLIDE_FOLDER, EXPECTED_NAME = "slide", "expected.json"
CHECK_SCHEMA = "edgehemo.first-check/1"
SLIDE_UM_PER_PX = 0.2


class ExpectedField(Record, frozen=True, kw_only=True):
    """What one picture must give: whether quality accepts it, and how many cells are found."""

    image: Text
    accepted: bool
    counts: dict[str, int] | None = None


class Tolerances(Record, frozen=True, kw_only=True):
    """How far a number may lie from the one that stands here. cells: of one kind in one field.
    share: of an index, of its own size. Processors differ by less (see `tests/firmware`).
    """

    cells: NonNegative
    share: NonNegative


class ExpectedNumbers(Record, frozen=True, kw_only=True):
    """Of one runtime and precision. indices: of the whole slide."""

    runtime: Text
    precision: Text
    fields: tuple[ExpectedField, ...]
    indices: dict[str, float]


class ExpectedSlide(Record, frozen=True, kw_only=True):
    """bundle_sha256: of the shipped bundle that the numbers were made with."""

    schema: Literal["edgehemo.test-slide/1"] = "edgehemo.test-slide/1"
    bundle_sha256: Text
    tolerances: Tolerances
    numbers: tuple[ExpectedNumbers, ...]


def expected_slide() -> ExpectedSlide:
    """What the stored slide must give."""
    content = files("edgehemo_firmware").joinpath(SLIDE_FOLDER, EXPECTED_NAME).read_bytes()
    return ExpectedSlide.model_validate(msgspec.json.decode(content))


def faults_of(
    found: ExpectedNumbers, wanted: ExpectedNumbers, tolerances: Tolerances
) -> Iterator[str]:
    """How one screening of the slide differs from what it must give, a line each."""
    given = {each.image: each for each in found.fields}
    for field in wanted.fields:
        got = given.get(field.image)
        if got is None or got.accepted != field.accepted:
            said = "not read" if got is None else "accepted" if got.accepted else "refused"
            must = "accepted" if field.accepted else "refused"
            yield f"{field.image}: is {said} and must be {must}"
            continue
        for kind, count in (field.counts or {}).items():
            found_cells = (got.counts or {}).get(kind, 0)
            if abs(found_cells - count) > tolerances.cells:
                yield f"{field.image}: {found_cells} {kind} found, {count} expected"
    for name, value in wanted.indices.items():
        have = found.indices.get(name)
        if have is None or abs(have - value) > tolerances.share * abs(value):
            yield f"{name}: {have if have is None else f'{have:.5g}'}, {value:.5g} expected"


def screened_slide(runtime: str, precision: str) -> ExpectedNumbers:
    """Screen the stored slide with the shipped bundle in a runtime and precision."""
    from edgehemo.api import screen
    from edgehemo.bundle.bundle import SHIPPED_BUNDLE
    from edgehemo.device.configuration import configured_by

    folder = files("edgehemo_firmware").joinpath(SLIDE_FOLDER)
    with tempfile.TemporaryDirectory() as scratch, as_file(folder) as slide:
        device = Path(scratch) / "device.toml"
        device.write_text(
            'schema = "edgehemo.device/1"\nname = "first check"\nboard = "workstation"\n'
            f'[inference]\nruntime = "{runtime}"\nprecision = "{precision}"\nthreads = 1\n'
            f'[paths]\ndata = "{scratch}"\n',
            encoding="utf-8",
        )
        pictures = [str(path) for path in sorted(slide.glob("*.png"))]
        with configured_by(device):
            output = screen(pictures, bundle=SHIPPED_BUNDLE, um_per_px=SLIDE_UM_PER_PX).record
    indices = output["sample"]["indices"] or {}
    return ExpectedNumbers(
        runtime=runtime,
        precision=precision,
        fields=tuple(
            ExpectedField(
                image=Path(each["image"]).name,
                accepted=bool(each.get("accepted")),
                counts=each.get("counts"),
            )
            for each in output["images"]
        ),
        indices={name: indices[name] for name in INDICES if indices.get(name) is not None},
    )


# Of the whole slide: what a concentration is made of.
INDICES = ("hgb_index", "hct_index", "rbc_index", "cell_od_green", "cell_area_um2")


def slide_faults() -> Iterator[str]:
    """What is wrong with the stored slide's numbers here, each runtime that they are known of."""
    from edgehemo.bundle.bundle import load_bundle

    expected = expected_slide()
    if (digest := load_bundle().digest) != expected.bundle_sha256:
        yield (
            f"the shipped bundle is {digest[:12]} and the numbers are of "
            f"{expected.bundle_sha256[:12]}"
        )
        return
    for wanted in expected.numbers:
        found = screened_slide(wanted.runtime, wanted.precision)
        for fault in faults_of(found, wanted, expected.tolerances):
            yield f"{wanted.runtime} {wanted.precision}: {fault}"


def equipment_faults() -> Iterator[str]:
    """Whether this version takes the device's own configuration, finds cells in its runtime, and
    its bundle answers here.
    """
    from edgehemo.device.equipment import open_finder
    from edgehemo.inference.verification import verify_artefacts

    _, bundle, _ = open_finder(None)
    for row in verify_artefacts(bundle, threads=1):
        if row.gate == "fail":
            yield f"{row.artefact.file}: {row.problem}"


def records_faults() -> Iterator[str]:
    """Whether the records can be opened to be written; brings them up to this version."""
    from edgehemo.device.configuration import load_device
    from edgehemo.records.store import Store

    store = Store.below(load_device().data_dir)
    if store.folder.exists():
        with store.writer(brief=True) as writer:
            if writer.set_aside is not None:
                yield f"the records were damaged and set aside as {writer.set_aside.name}"


CHECKS: Mapping[str, Callable[[], Iterator[str]]] = {
    "slide": slide_faults,
    "equipment": equipment_faults,
    "records": records_faults,
}


def checked(names: Sequence[str]) -> dict[str, Any]:
    """The report of the checks named. An error of ours is a fault; any other ends the process."""
    from edgehemo.version import __version__

    began = time.monotonic()
    faults = []
    for name in names:
        try:
            faults += [f"{name}: {fault}" for fault in CHECKS[name]()]
        except EdgeHemoError as error:
            faults.append(f"{name}: {error}")
    return {
        "schema": CHECK_SCHEMA,
        "version": __version__,
        "checks": list(names),
        "faults": faults,
        "seconds": round(time.monotonic() - began, 2),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and print the report, one line of JSON."""
    parser = argparse.ArgumentParser(description="The first check of a version of edgehemo.")
    parser.add_argument("checks", nargs="*", help=f"of {', '.join(CHECKS)}; without any the slide")
    options = parser.parse_args(arguments)
    # A later version may ask for what this one does not know: no fault of either.
    names = [name for name in options.checks or ["slide"] if name in CHECKS]
    report = checked(names)
    sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    return EXIT_WITHHELD if report["faults"] else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
