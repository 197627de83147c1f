"""The model bundle: a folder of artefacts and the manifest that describes them.

The manifest is validated as a whole, every file it names is checked against its digest before it
is opened, and no path may leave the bundle.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edgehemo.errors import BundleError
from edgehemo.files import sha256_of_file

BUNDLE_SCHEMA = "edgehemo.bundle/1"
MANIFEST_NAME = "manifest.json"
# The bundle that comes with the package.
SHIPPED_BUNDLE = Path(__file__).with_name("bundles") / "shipped"

ModelTask = Literal["cell_finder", "nucleated", "morphology", "field_estimator", "anaemia_screen"]
ArtefactFormat = Literal["onnx", "openvino", "tflite"]
Precision = Literal["int8", "fp16", "fp32"]
# What a runtime prefers where a bundle holds several; `bench` may say otherwise for a board.
PRECISION_PREFERENCE: tuple[Precision, ...] = ("int8", "fp16", "fp32")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Strict):
    """What a model takes: uint8 canonical codes. A height or width of None is free, in steps."""

    height_px: int | None
    width_px: int | None
    multiple_of_px: int = 1
    channels: Literal[3] = 3
    dtype: Literal["uint8"] = "uint8"
    layout: Literal["NHWC"] = "NHWC"
    colour_order: Literal["RGB"] = "RGB"
    um_per_px: float | None
    code_of_transmittance_1: float


class ScoreCalibration(_Strict):
    """Probability = sigmoid(slope * logit(score) + intercept) (Platt 1999)."""

    slope: Annotated[float, Field(gt=0)]
    intercept: float


class KindOperatingPoint(_Strict):
    """How one kind of cell is read from the finder's scores.

    threshold: calibrated probability from which a cell is reported. count_relative_sd: standard
    deviation of the relative count error by field, measured on kept-out fields beyond what
    counting alone explains.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)]
    calibration: ScoreCalibration
    count_relative_sd: Annotated[float, Field(ge=0)]


class ConformalRule(_Strict):
    """When a classifier names a class (split conformal prediction, Vovk et al. 2005).

    A class belongs to the prediction set when its probability reaches its threshold; a cell is
    named when exactly one class does, else it is `uncertain`. coverage: the share of cells whose
    true class is in the set, stated for cells like those of the calibration. cells: how many
    calibration cells the thresholds stand on.
    """

    coverage: Annotated[float, Field(gt=0, lt=1)]
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    cells: Annotated[int, Field(gt=0)]


class Confusion(_Strict):
    """How kept-out cells were named: counts[true][named], true in the order of the model's
    classes, named in the same order with `uncertain` after them."""

    counts: list[list[Annotated[int, Field(ge=0)]]]


class Metric(_Strict):
    """A figure measured on kept-out data: where, on how many images, with its interval if any."""

    name: str
    source: str
    value: float
    low: float | None = None
    high: float | None = None
    images: int | None = None


class TrainingEnvelope(_Strict):
    """Where the training fields lay in light and stain, as `edgehemo.quality.envelope` fits it.

    A field is judged by its Mahalanobis distance from ``mean``; ``fields`` is how many training
    fields the envelope stands on.
    """

    features: list[str]
    mean: list[float]
    precision: list[list[float]]
    warn_above: Annotated[float, Field(gt=0)]
    fail_above: Annotated[float, Field(gt=0)]
    fields: Annotated[int, Field(ge=20)]

    @model_validator(mode="after")
    def _square(self) -> Self:
        size = len(self.features)
        if len(self.mean) != size or any(len(row) != size for row in self.precision):
            raise ValueError("mean and precision must have as many entries as features")
        if len(self.precision) != size:
            raise ValueError("precision must be square")
        return self


class Artefact(_Strict):
    """One file of one model in one format and precision, and how well it follows PyTorch."""

    format: ArtefactFormat
    precision: Precision
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(gt=0)]
    parity: dict[str, float]
    recipe: dict[str, str | int | float | list[str]] = Field(default_factory=dict)

    @field_validator("file")
    @classmethod
    def _stays_inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or "\\" in value or not path.parts:
            raise ValueError(f"{value!r} leaves the bundle")
        return value


class ModelEntry(_Strict):
    """One model: what it takes, what it answers, how good it is, and its artefacts.

    classes: the graph's outputs, in order. rejects: those among them that mean "not what this
    model names" and are no type of a cell.
    """

    name: str
    task: ModelTask
    input: InputSpec
    classes: list[str]
    rejects: list[str] = Field(default_factory=list)
    conformal: ConformalRule | None = None
    confusion: Confusion | None = None
    operating_points: dict[str, KindOperatingPoint] = Field(default_factory=dict)
    training_envelope: TrainingEnvelope | None = None
    metrics: list[Metric] = Field(default_factory=list)
    training_data: list[str]
    checkpoint_sha256: str
    model_card: str | None = None
    artefacts: list[Artefact]


class Manifest(_Strict):
    """The bundle's manifest; ``bundle_schema`` is checked before anything else."""

    bundle_schema: Literal["edgehemo.bundle/1"] = Field(alias="schema")
    name: str
    serial: Annotated[int, Field(ge=1)]
    created_at: datetime
    software_version: str
    licence: str
    intended_use: str
    machine: str
    models: list[ModelEntry]

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. digest: SHA-256 of the manifest, which holds the digest of every file."""

    path: Path
    manifest: Manifest
    digest: str

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
        for entry in self.manifest.models:
            for artefact in entry.artefacts:
                self._checked(artefact)

    def _checked(self, artefact: Artefact) -> Path:
        path = self.path / artefact.file
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise BundleError(f"{artefact.file} leaves the bundle")
        if not path.is_file():
            raise BundleError(f"{artefact.file} is missing from the bundle; install it again")
        if sha256_of_file(path) != artefact.sha256:
            raise BundleError(
                f"{artefact.file} is not the file the manifest names (its digest differs); "
                "install the bundle again"
            )
        return path


def load_bundle(path: Path | None = None) -> Bundle:
    """Load and validate a bundle folder; None is the one that comes with the package.

    Raises BundleError for a missing, damaged or unknown manifest. Files are checked when opened.
    """
    folder = path if path is not None else SHIPPED_BUNDLE
    file = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise BundleError(
            f"{folder}: no such bundle; a bundle is the folder `edgehemo export` made"
        )
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{folder}: holds no readable {MANIFEST_NAME} ({error.strerror})"
        ) from None
    _refuse_other_schema(raw, folder)
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors()[:5]
        )
        raise BundleError(f"{folder.name}/{MANIFEST_NAME}: {problems}") from None
    return Bundle(folder, manifest, hashlib.sha256(raw).hexdigest())


def _refuse_other_schema(raw: bytes, folder: Path) -> None:
    import json

    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise BundleError(f"{folder.name}/{MANIFEST_NAME} is not JSON; install it again") from None
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != BUNDLE_SCHEMA:
        raise BundleError(
            f"{folder.name}: bundle schema {schema!r} is unknown to this version, "
            f"which reads {BUNDLE_SCHEMA}; update edgehemo or export the bundle again"
        )
