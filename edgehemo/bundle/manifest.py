"""The manifest of a model bundle: what each model takes and answers, and how good it is."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal, get_args

from msgspec import Meta, field

from edgehemo.files.strict import Record, Sha256

ModelTask = Literal["cell_finder", "nucleated", "morphology", "field_estimator", "anaemia_screen"]

ArtefactFormat = Literal["onnx", "openvino", "tflite"]
# What runs where nobody chose: the runtime that every installation has.
DEFAULT_FORMAT: ArtefactFormat = "onnx"

# In the order in which a runtime prefers them where a bundle holds several; `bench` may say
# otherwise for a board.
Precision = Literal["int8", "fp16", "fp32"]
PRECISION_PREFERENCE: tuple[Precision, ...] = get_args(Precision)
DEFAULT_PRECISION = PRECISION_PREFERENCE[0]
# The cell finder answers a box beside the score of each class: offset (x, y), width and height.
BOX_VALUES = 4


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


class FamiliarityRule(Record, frozen=True, kw_only=True):
    """When a cell, and a sample, is like those a classifier learnt from; else nothing is named.

    The graph answers a familiarity (0 to 1) in a column behind the classes: 1 for a cell like the
    middle of a class of a known source, less the farther off its features lie. cell_from: the least
    of a cell that may be named. sample_from: the least median over a sample's cells of that kind,
    asked of ``sample_cells`` cells or more: below it the microscope or stain is another one, no
    share is given, and a cell is named from ``strange_cell_from`` on only; so is one of a type that
    alarms, anywhere. cells: how many kept-out cells of known sources these stand on.
    """

    cell_from: Annotated[float, Meta(ge=0, le=1)]
    sample_from: Annotated[float, Meta(ge=0, le=1)]
    sample_cells: Annotated[int, Meta(ge=1)]
    strange_cell_from: Annotated[float, Meta(ge=0, le=1)] = 0.6
    cells: Annotated[int, Meta(gt=0)]


class Confusion(Record, frozen=True, kw_only=True):
    """How kept-out cells were named: counts[true][named], true in the order of the model's
    classes, named in the same order with `uncertain` after them.
    """

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


def _check_inside(*paths: BundlePath | None) -> None:
    """ValueError for a path that leads out of the bundle, or to the bundle itself."""
    for value in paths:
        if value is None:
            continue
        path = PurePosixPath(value)
        odd = "\\" in value or any(ord(character) < 0x20 for character in value)
        if path.is_absolute() or ".." in path.parts or odd or not path.parts:
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
    def digests(self) -> dict[str, str]:
        """SHA-256 of each of its files, by the file's name without folders."""
        files = (self, self.companion)
        return {PurePosixPath(item.file).name: item.sha256 for item in files if item is not None}

    @property
    def total_bytes(self) -> int:
        """Of all its files."""
        return self.bytes + (self.companion.bytes if self.companion is not None else 0)


class ModelEntry(Record, frozen=True, kw_only=True):
    """One model: what it takes, what it answers, how good it is, and its artefacts.

    classes: the graph's outputs, in order; with ``familiarity`` one more. samples: an NPZ file of
    inputs that may be published and PyTorch's answers to them, from which `edgehemo verify` tells
    whether the artefacts answer here as they did where they were made. rejects: those classes that
    mean "not what this model names" and are no type of a cell.

    trunk: of a head on another model's features, that model's task; its graph answers the head's
    classes as well, and the head has no artefacts of its own. heads: of a trunk, the tasks of its
    heads, in the order in which their classes follow its own.
    """

    name: str
    task: ModelTask
    input: InputSpec
    classes: list[str]
    rejects: list[str] = field(default_factory=list)
    conformal: ConformalRule | None = None
    familiarity: FamiliarityRule | None = None
    confusion: Confusion | None = None
    operating_points: dict[str, KindOperatingPoint] = field(default_factory=dict)
    training_envelope: TrainingEnvelope | None = None
    metrics: list[Metric] = field(default_factory=list)
    training_data: list[str]
    checkpoint_sha256: str
    model_card: BundlePath | None = None
    samples: BundlePath | None = None
    trunk: ModelTask | None = None
    heads: list[ModelTask] = field(default_factory=list)
    artefacts: list[Artefact]

    def __post_init__(self) -> None:
        _check_inside(self.model_card, self.samples)
        if self.trunk is not None and (self.artefacts or self.heads):
            raise ValueError("a head has neither artefacts nor heads of its own")

    def input_of(self, artefact: Artefact) -> InputSpec:
        """What an artefact takes: the model's input, its size fixed where the format fixes it."""
        if artefact.height_px is None and artefact.width_px is None:
            return self.input
        return self.input.model_copy(
            update={"height_px": artefact.height_px, "width_px": artefact.width_px}
        )

    @property
    def output_values(self) -> int:
        """Values in the last dimension of its answer: one a class, a finder's box, and where it
        tells one the familiarity. Those of its heads come behind them.
        """
        boxes = BOX_VALUES if self.task == "cell_finder" else 0
        return len(self.classes) + boxes + (self.familiarity is not None)


# A serial far off would lock out all that come after it.
MAX_SERIAL = 2**31 - 1


class Manifest(Record, frozen=True, kw_only=True):
    """The bundle's manifest; ``schema`` is checked before anything else.

    serial: rises with every export of a name, so that a device can refuse to go back. files:
    digests of what the bundle holds beside artefacts (cards, reports, samples).
    """

    schema: Literal["edgehemo.bundle/1"]
    # It becomes a part of a folder's name.
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")]
    serial: Annotated[int, Meta(ge=1, le=MAX_SERIAL)]
    created_at: datetime
    software_version: str
    licence: str
    intended_use: str
    machine: str
    models: list[ModelEntry]
    files: dict[BundlePath, Sha256] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_inside(*self.files)
        said = [(entry.trunk, entry.task) for entry in self.models if entry.trunk is not None]
        listed = [(entry.task, head) for entry in self.models for head in entry.heads]
        if sorted(said) != sorted(listed):
            raise ValueError("a trunk must list the heads that stand on it, and no others")
