"""The model bundle: a folder of artefacts and the manifest that describes them.

The manifest is validated as a whole, every file it names is checked against its digest before it
is opened, and no path may leave the bundle.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from edgehemo.errors import BundleError
from edgehemo.files import sha256_of_file, write_text_atomically
from edgehemo.strict import Record, RecordError

BUNDLE_SCHEMA = "edgehemo.bundle/1"
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
# The bundle that comes with the package, and the package's own record of its manifest's digest: who
# can change that record can change this program as well, so a signature would prove no more.
SHIPPED_BUNDLE = Path(__file__).with_name("bundles") / "shipped"
SHIPPED_RECORD = Path(__file__).with_name("bundles") / "shipped.json"
SHIPPED_SCHEMA = "edgehemo.shipped/1"
# Development only: set to 1, bundles without a signature are opened, with a warning each time.
UNSIGNED_VARIABLE = "EDGEHEMO_ALLOW_UNSIGNED"
# A manifest is some hundred kilobytes; more is not one.
MAX_MANIFEST_BYTES = 16_000_000
# More problems of one manifest than these are not told.
MAX_PROBLEMS = 5

ModelTask = Literal["cell_finder", "nucleated", "morphology", "field_estimator", "anaemia_screen"]
ArtefactFormat = Literal["onnx", "openvino", "tflite"]
Precision = Literal["int8", "fp16", "fp32"]
# What a runtime prefers where a bundle holds several; `bench` may say otherwise for a board.
PRECISION_PREFERENCE: tuple[Precision, ...] = ("int8", "fp16", "fp32")


class InputSpec(Record, frozen=True, kw_only=True):
    """What a model takes: uint8 canonical codes. A height or width of None is free, in steps."""

    height_px: int | None
    width_px: int | None
    multiple_of_px: int = 1
    value_range: tuple[Literal[0], Literal[255]] = (0, 255)
    channels: Literal[3] = 3
    dtype: Literal["uint8"] = "uint8"
    layout: Literal["NHWC"] = "NHWC"
    colour_order: Literal["RGB"] = "RGB"
    um_per_px: float | None
    code_of_transmittance_1: float


class ScoreCalibration(Record, frozen=True, kw_only=True):
    """Probability = sigmoid(slope * logit(score) + intercept) (Platt 1999)."""

    slope: Annotated[float, Meta(gt=0)]
    intercept: float


class KindOperatingPoint(Record, frozen=True, kw_only=True):
    """How one kind of cell is read from the finder's scores.

    threshold: calibrated probability from which a cell is reported. count_relative_sd: standard
    deviation of the relative count error by field, measured on kept-out fields beyond what
    counting alone explains.
    """

    threshold: Annotated[float, Meta(gt=0, lt=1)]
    calibration: ScoreCalibration
    count_relative_sd: Annotated[float, Meta(ge=0)]


class ConformalRule(Record, frozen=True, kw_only=True):
    """When a classifier names a class (split conformal prediction, Vovk et al. 2005).

    A class belongs to the prediction set when its probability reaches its threshold; a cell is
    named when exactly one class does, else it is `uncertain`. coverage: the share of cells whose
    true class is in the set, stated for cells like those of the calibration. cells: how many
    calibration cells the thresholds stand on.
    """

    coverage: Annotated[float, Meta(gt=0, lt=1)]
    thresholds: dict[str, Annotated[float, Meta(ge=0, le=1)]]
    cells: Annotated[int, Meta(gt=0)]


class Confusion(Record, frozen=True, kw_only=True):
    """How kept-out cells were named: counts[true][named], true in the order of the model's
    classes, named in the same order with `uncertain` after them."""

    counts: list[list[Annotated[int, Meta(ge=0)]]]


class Metric(Record, frozen=True, kw_only=True):
    """A figure measured on kept-out data: where, on how many images, with its interval if any."""

    name: str
    source: str
    value: float
    low: float | None = None
    high: float | None = None
    images: int | None = None


class TrainingEnvelope(Record, frozen=True, kw_only=True):
    """Where the training fields lay in light and stain, as `edgehemo.quality.envelope` fits it.

    A field is judged by its Mahalanobis distance from ``mean``; ``fields`` is how many training
    fields the envelope stands on.
    """

    features: list[str]
    mean: list[float]
    precision: list[list[float]]
    warn_above: Annotated[float, Meta(gt=0)]
    fail_above: Annotated[float, Meta(gt=0)]
    fields: Annotated[int, Meta(ge=20)]

    def __post_init__(self) -> None:
        size = len(self.features)
        if len(self.mean) != size or any(len(row) != size for row in self.precision):
            raise ValueError("mean and precision must have as many entries as features")
        if len(self.precision) != size:
            raise ValueError("precision must be square")


# A path of a file in the bundle; `_check_inside` says which.
BundlePath = str
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


def _check_inside(*paths: BundlePath | None) -> None:
    """ValueError for a path that leads out of the bundle, or to the bundle itself."""
    for value in paths:
        if value is None:
            continue
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\\" in value or not path.parts:
            raise ValueError(f"{value!r} leaves the bundle")


class Companion(Record, frozen=True, kw_only=True):
    """A second file of an artefact, found by its runtime beside the first (OpenVINO's weights)."""

    file: BundlePath
    sha256: Sha256
    bytes: Annotated[int, Meta(gt=0)]

    def __post_init__(self) -> None:
        _check_inside(self.file)


class Artefact(Record, frozen=True, kw_only=True):
    """One model in one format and precision, and how well it follows PyTorch.

    parity: figures of the gate it passed. recipe: how it was made. height_px, width_px: where the
    format fixes a size that the model leaves free. reproduction: largest difference from the
    reference answers in ``samples``, as measured at the export; another machine should see about
    the same. versions: of the tools and of the runtime it was verified in. fingerprint: of
    checkpoint, recipe, data and versions, by which a later export knows that it is up to date.
    """

    format: ArtefactFormat
    precision: Precision
    file: BundlePath
    sha256: Sha256
    bytes: Annotated[int, Meta(gt=0)]
    companion: Companion | None = None
    height_px: Annotated[int, Meta(gt=0)] | None = None
    width_px: Annotated[int, Meta(gt=0)] | None = None
    parity: dict[str, float]
    recipe: dict[str, str | int | float | list[str]] = field(default_factory=dict)
    reproduction: Annotated[float, Meta(ge=0)] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        _check_inside(self.file)

    @property
    def total_bytes(self) -> int:
        """Of all its files."""
        return self.bytes + (self.companion.bytes if self.companion is not None else 0)


class ModelEntry(Record, frozen=True, kw_only=True):
    """One model: what it takes, what it answers, how good it is, and its artefacts.

    classes: the graph's outputs, in order. samples: an NPZ file of inputs that may be published
    and PyTorch's answers to them, from which `edgehemo verify` tells whether the artefacts answer
    here as they did where they were made. rejects: those among them that mean "not what this
    model names" and are no type of a cell.
    """

    name: str
    task: ModelTask
    input: InputSpec
    classes: list[str]
    rejects: list[str] = field(default_factory=list)
    conformal: ConformalRule | None = None
    confusion: Confusion | None = None
    operating_points: dict[str, KindOperatingPoint] = field(default_factory=dict)
    training_envelope: TrainingEnvelope | None = None
    metrics: list[Metric] = field(default_factory=list)
    training_data: list[str]
    checkpoint_sha256: str
    model_card: BundlePath | None = None
    samples: BundlePath | None = None
    artefacts: list[Artefact]

    def __post_init__(self) -> None:
        _check_inside(self.model_card, self.samples)

    def input_of(self, artefact: Artefact) -> InputSpec:
        """What an artefact takes: the model's input, its size fixed where the format fixes it."""
        if artefact.height_px is None and artefact.width_px is None:
            return self.input
        return self.input.model_copy(
            update={"height_px": artefact.height_px, "width_px": artefact.width_px}
        )


class Manifest(Record, frozen=True, kw_only=True):
    """The bundle's manifest; ``bundle_schema`` is checked before anything else.

    serial: rises with every export of a name, so that a device can refuse to go back. files:
    digests of what the bundle holds beside artefacts (cards, reports, samples).
    """

    bundle_schema: Literal["edgehemo.bundle/1"] = field(name="schema")
    name: str
    serial: Annotated[int, Meta(ge=1)]
    created_at: datetime
    software_version: str
    licence: str
    intended_use: str
    machine: str
    models: list[ModelEntry]
    files: dict[BundlePath, Sha256] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_inside(*self.files)


# How a bundle came to be trusted: it is the package's own; a trusted key signed it; or nobody
# vouches for it.
Trust = Literal["shipped", "signed", "unsigned"]


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. digest: SHA-256 of the manifest, which holds the digest of every file.

    signed_by: name and identifier of the trusted key that signed it, None without one. origin: what
    it was copied or unpacked from, as messages name it.
    """

    path: Path
    manifest: Manifest
    digest: str
    trust: Trust = "unsigned"
    signed_by: str | None = None
    origin: Path | None = None

    @property
    def shown(self) -> Path:
        """How messages name it."""
        return self.origin if self.origin is not None else self.path

    def model(self, task: ModelTask) -> ModelEntry:
        """The entry of a task; BundleError where the bundle has none."""
        for entry in self.manifest.models:
            if entry.task == task:
                return entry
        raise BundleError(f"bundle {self.manifest.name} holds no model for {task}")

    def has(self, task: ModelTask) -> bool:
        return any(entry.task == task for entry in self.manifest.models)

    def artefact(
        self, task: ModelTask, format: ArtefactFormat, precision: Precision | None = None
    ) -> tuple[Artefact, Path]:
        """The artefact to run and its file, digest checked; BundleError where there is none."""
        entry = self.model(task)
        wanted = (precision,) if precision is not None else PRECISION_PREFERENCE
        for choice in wanted:
            for artefact in entry.artefacts:
                if artefact.format == format and artefact.precision == choice:
                    return artefact, self._checked(artefact)
        have = ", ".join(f"{a.format} {a.precision}" for a in entry.artefacts)
        asked = f"{format} {precision}" if precision else format
        raise BundleError(f"{entry.name}: no {asked} artefact in this bundle; it holds {have}")

    def envelope(self, task: ModelTask) -> dict[str, Any] | None:
        """A model's training envelope as `edgehemo.quality.check_field` takes it, if it has one."""
        found = self.model(task).training_envelope
        return None if found is None else found.model_dump()

    def check_files(self) -> None:
        """Compare every file with its digest; BundleError names the first that differs."""
        for name, digest in self.digests().items():
            self.checked_file(name, digest)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file the manifest names, by its path in the bundle."""
        found = dict(self.manifest.files)
        for entry in self.manifest.models:
            for artefact in entry.artefacts:
                found[artefact.file] = artefact.sha256
                if artefact.companion is not None:
                    found[artefact.companion.file] = artefact.companion.sha256
        return found

    def strangers(self) -> list[str]:
        """Files in the folder that neither the manifest names nor the format knows."""
        known = {MANIFEST_NAME, SIGNATURE_NAME, *self.digests()}
        present = (path for path in self.path.rglob("*") if not path.is_dir() or path.is_symlink())
        names = (path.relative_to(self.path).as_posix() for path in present)
        return sorted(name for name in names if name not in known)

    def checked_file(self, name: str, digest: str) -> Path:
        """The path of a file of the bundle whose content has this SHA-256, else BundleError."""
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise BundleError(f"{name} leaves the bundle")
        if not path.is_file():
            raise BundleError(f"{name} is missing from the bundle; install it again")
        if sha256_of_file(path) != digest:
            raise BundleError(
                f"{name} is not the file the manifest names (its digest differs); "
                "install the bundle again"
            )
        return path

    def _checked(self, artefact: Artefact) -> Path:
        if artefact.companion is not None:
            self.checked_file(artefact.companion.file, artefact.companion.sha256)
        return self.checked_file(artefact.file, artefact.sha256)


def load_bundle(
    path: Path | None = None,
    *,
    trust: Literal["required", "files-only"] = "required",
    origin: Path | None = None,
) -> Bundle:
    """Load and validate a bundle, a folder or one file; None is the one that comes with edgehemo.

    trust: ``files-only`` opens what nobody signed as well (to look at it, never to screen with).
    origin: how messages name it, where it was copied from there.
    Raises BundleError for a missing, damaged, unknown, unsigned or wrongly signed manifest. Files
    are checked when opened.
    """
    folder = path if path is not None else SHIPPED_BUNDLE
    shown = origin if origin is not None else folder
    if folder.is_file():
        from edgehemo.bundle_file import unpacked

        folder = unpacked(folder)
    file = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise BundleError(f"{shown}: no such bundle; a bundle is what `edgehemo export` made")
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(f"{shown}: its {MANIFEST_NAME} is too large to be one")
        raw = file.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{shown}: holds no readable {MANIFEST_NAME} ({error.strerror})"
        ) from None
    stated = _stated(raw, shown)
    digest = hashlib.sha256(raw).hexdigest()
    # The signature is checked before anything of the content is believed.
    try:
        trusted, signed_by = _trust(raw, digest, folder, shown)
    except BundleError:
        if trust == "required":
            raise
        trusted, signed_by = "unsigned", None
    try:
        manifest = Manifest.model_validate(stated)
    except RecordError as error:
        problems = RecordError(error.problems[:MAX_PROBLEMS])
        raise BundleError(f"{shown.name}/{MANIFEST_NAME}: {problems}") from None
    return Bundle(folder, manifest, digest, trusted, signed_by, shown)


def _trust(raw: bytes, digest: str, folder: Path, shown: Path) -> tuple[Trust, str | None]:
    """How a manifest is vouched for; BundleError where it is not."""
    if digest == shipped_digest():
        return "shipped", None
    if folder.resolve() == SHIPPED_BUNDLE.resolve():
        raise BundleError(
            "the bundle that comes with edgehemo was changed after it was made; "
            "reinstall edgehemo (pip install --force-reinstall edgehemo)"
        )
    try:
        signature = (folder / SIGNATURE_NAME).read_bytes()
    except OSError:
        if os.environ.get(UNSIGNED_VARIABLE) == "1":
            import logging

            logging.getLogger(__name__).warning(
                "edgehemo: WARNING: %s is not signed and nobody vouches for it. It is opened only "
                "because %s=1 is set, which is for development, never for patients.",
                shown,
                UNSIGNED_VARIABLE,
            )
            return "unsigned", None
        raise BundleError(
            f"{shown}: is not signed; export it with a key (`edgehemo keys new`), or for "
            f"development set {UNSIGNED_VARIABLE}=1"
        ) from None
    from edgehemo.signatures import check_signature

    key = check_signature(raw, signature, str(shown))
    return "signed", f"{key.name} ({key.identifier})"


def shipped_digest() -> str | None:
    """SHA-256 of the shipped bundle's manifest as the package records it."""
    try:
        record = json.loads(SHIPPED_RECORD.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("schema") != SHIPPED_SCHEMA:
        return None
    return str(record.get("manifest_sha256"))


def record_shipped(folder: Path) -> None:
    """Record the digest of the package's own bundle, after it was exported in its place."""
    digest = sha256_of_file(folder / MANIFEST_NAME)
    record = {"schema": SHIPPED_SCHEMA, "manifest_sha256": digest}
    write_text_atomically(SHIPPED_RECORD, json.dumps(record, indent=2) + "\n")


def _stated(raw: bytes, folder: Path) -> object:
    """What a manifest of this schema states, not yet checked; BundleError for another schema."""
    try:
        value: object = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        raise BundleError(f"{folder.name}/{MANIFEST_NAME} is not JSON; install it again") from None
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != BUNDLE_SCHEMA:
        raise BundleError(
            f"{folder.name}: bundle schema {schema!r} is unknown to this version, "
            f"which reads {BUNDLE_SCHEMA}; update edgehemo or export the bundle again"
        )
    return value
