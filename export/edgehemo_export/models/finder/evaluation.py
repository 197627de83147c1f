"""How good a cell finder is: average precision, interior counts, score calibration.

Evaluation goes the device's way: the image file, the canonical field with the scale estimated
from the image, the device's own reading of the maps; only the network's runtime may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import InputSpec, KindOperatingPoint, Metric, ScoreCalibration
from edgehemo.cells.cell import CELL_KINDS
from edgehemo.cells.finder import CellFinder, calibrate, interior_mask
from edgehemo.errors import UsageError
from edgehemo.field.canonical import (
    CANONICAL_UM_PER_PX,
    UINT8_PER_TRANSMITTANCE,
    CanonicalField,
    canonical_field,
)
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.inference import Runner
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.relabels import LabelledImage, labelled_images, relabelled
from edgehemo_export.data.splits import Part, model_split
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.models.finder.checkpoint import finder_net, operating_points
from edgehemo_export.models.finder.data import judged
from edgehemo_export.models.finder.isolated import measure_isolated
from edgehemo_export.models.finder.lights import LIGHTS
from edgehemo_export.models.finder.matching import average_precision, centres_in, match
from edgehemo_export.nets.architectures import FINDER_MULTIPLE
from edgehemo_export.nets.torch_runner import TorchRunner

BOOTSTRAP_ROUNDS = 400

IDENTITY_POINT = KindOperatingPoint(
    threshold=0.05, calibration=ScoreCalibration(slope=1.0, intercept=0.0), count_relative_sd=0.0
)


def finder_input(multiple_of_px: int) -> InputSpec:
    """The input specification of every cell finder of this project: any size, in steps."""
    return InputSpec(
        height_px=None,
        width_px=None,
        multiple_of_px=multiple_of_px,
        um_per_px=CANONICAL_UM_PER_PX,
        code_of_transmittance_1=UINT8_PER_TRANSMITTANCE,
    )


def bare_finder(runner: Runner, multiple_of_px: int) -> CellFinder:
    """A finder whose scores are not calibrated yet."""
    points: dict[str, KindOperatingPoint] = dict.fromkeys(CELL_KINDS, IDENTITY_POINT)
    return CellFinder(runner, finder_input(multiple_of_px), points)


@dataclass(frozen=True)
class Examined:
    """One image's labels and candidates, both in canonical px.

    candidates: float32 (n, 6) as `read_maps` gives them. interior_candidates, interior_labels:
    bool, centre in the interior. matched: bool (n,), candidate overlaps a label of its kind that
    no better candidate took.
    """

    name: str
    source: str
    field: CanonicalField
    labels: NDArray[np.float32]
    label_kinds: NDArray[np.intp]
    candidates: NDArray[np.float32]
    matched: NDArray[np.bool_]
    interior_candidates: NDArray[np.bool_]
    interior_labels: NDArray[np.bool_]


def examine(
    images: Sequence[LabelledImage],
    finder: CellFinder,
    *,
    scale: Callable[[LabelledImage], float | None] = lambda _: None,
    light: Callable[[Frame], Frame] = lambda frame: frame,
) -> list[Examined]:
    """Run a finder over labelled images.

    scale: may give um/px, by default it is estimated. light: changes the frames before.
    """
    return [_examined(image, finder, scale(image), light) for image in images]


def _examined(
    image: LabelledImage,
    finder: CellFinder,
    um_per_px: float | None,
    light: Callable[[Frame], Frame],
) -> Examined:
    field = canonical_field(light(read_frame(image.path)), um_per_px=um_per_px)
    candidates = finder.candidates(field.to_uint8())
    candidates[:, [0, 2]] = np.clip(candidates[:, [0, 2]], 0, field.width)
    candidates[:, [1, 3]] = np.clip(candidates[:, [1, 3]], 0, field.height)
    across, down = field.frame_px_per_canonical_px
    labels = (image.boxes / np.array([across, down, across, down])).astype(np.float32)
    mask = interior_mask(field.valid)
    return Examined(
        name=image.name,
        source=image.source,
        field=field,
        labels=labels,
        label_kinds=image.kinds,
        candidates=candidates,
        matched=match(candidates, labels, image.kinds),
        interior_candidates=centres_in(candidates, mask),
        interior_labels=centres_in(labels, mask),
    )


def measure(
    examined: Sequence[Examined],
    points: dict[str, KindOperatingPoint],
    *,
    seed: int = 0,
    rounds: int = BOOTSTRAP_ROUNDS,
) -> list[Metric]:
    """AP50 per kind, mAP50 and interior red-cell counts of each source, with 95 % intervals.

    AP by COCO's 101-point rule; intervals by a bootstrap over images.
    """
    out: list[Metric] = []
    rng = np.random.default_rng(seed)
    for source in sorted({item.source for item in examined}):
        items = [item for item in examined if item.source == source]
        out += _precision_metrics(items, source, rng, rounds)
        out += _count_metrics(items, source, points, rng, rounds)
    return out


def _precision_metrics(
    items: Sequence[Examined], source: str, rng: np.random.Generator, rounds: int
) -> list[Metric]:
    values = _average_precisions(items)
    resampled = [
        _average_precisions([items[int(i)] for i in rng.integers(0, len(items), len(items))])
        for _ in range(rounds)
    ]
    out = []
    for name, value in values.items():
        low, high = _interval([r[name] for r in resampled if name in r])
        out.append(
            Metric(name=name, source=source, value=value, low=low, high=high, images=len(items))
        )
    return out


def _average_precisions(items: Sequence[Examined]) -> dict[str, float]:
    """AP50 of each kind that has labels, and their mean: 101-point interpolation as in COCO."""
    out: dict[str, float] = {}
    for index, kind in enumerate(CELL_KINDS):
        labels = sum(int((item.label_kinds == index).sum()) for item in items)
        if labels == 0:
            continue
        scores = np.concatenate([i.candidates[i.candidates[:, 5] == index, 4] for i in items])
        truth = np.concatenate([i.matched[i.candidates[:, 5] == index] for i in items])
        out[f"AP50 {kind}"] = average_precision(scores, truth, labels)
    out["mAP50"] = float(np.mean(list(out.values())))
    return out


def _count_metrics(
    items: Sequence[Examined],
    source: str,
    points: dict[str, KindOperatingPoint],
    rng: np.random.Generator,
    rounds: int,
) -> list[Metric]:
    ours = expected_red_cells(items, points)
    theirs = np.array(
        [float(((item.label_kinds == 0) & item.interior_labels).sum()) for item in items]
    )
    enough = theirs >= 3
    total = float(ours.sum() / max(1.0, theirs.sum()) - 1)
    drawn = []
    for _ in range(rounds):
        i = rng.integers(0, len(items), len(items))
        drawn.append(ours[i].sum() / max(1.0, theirs[i].sum()) - 1)
    low, high = _interval(drawn)
    relative = np.abs(ours - theirs)[enough] / theirs[enough]
    made = [
        Metric(
            name="interior rbc count, total relative error",
            source=source,
            value=total,
            low=low,
            high=high,
            images=len(items),
        ),
        Metric(
            name="interior rbc count, mean absolute error in cells a field",
            source=source,
            value=float(np.abs(ours - theirs).mean()),
            images=len(items),
        ),
    ]
    if enough.any():
        low, high = _interval(
            [
                float(np.median(relative[rng.integers(0, len(relative), len(relative))]))
                for _ in range(rounds)
            ]
        )
        made.append(
            Metric(
                name="interior rbc count, median relative error of a field",
                source=source,
                value=float(np.median(relative)),
                low=low,
                high=high,
                images=int(enough.sum()),
            )
        )
    return made


def measure_lights(
    images: Sequence[LabelledImage],
    finder: CellFinder,
    plain: Sequence[Examined],
    points: dict[str, KindOperatingPoint],
) -> list[Metric]:
    """What other lights change, by source: mAP50, and the interior red count in total.

    plain: the images examined as they are; images whose mAP50 or count changes for the better
    count with their sign.
    """
    out: list[Metric] = []
    sources = sorted({item.source for item in plain})
    for name, light in LIGHTS.items():
        changed = examine(images, finder, light=light)
        for source in sources:
            before = [item for item in plain if item.source == source]
            after = [item for item in changed if item.source == source]
            precision = _average_precisions(after)["mAP50"] - _average_precisions(before)["mAP50"]
            ours, theirs = (
                expected_red_cells(after, points).sum(),
                expected_red_cells(before, points).sum(),
            )
            for what, value in (
                ("change of mAP50", precision),
                ("relative change of the interior rbc count", ours / max(1.0, theirs) - 1),
            ):
                out.append(
                    Metric(
                        name=f"{name}: {what}",
                        source=source,
                        value=float(value),
                        images=len(before),
                    )
                )
    return out


def expected_red_cells(
    items: Sequence[Examined], points: dict[str, KindOperatingPoint]
) -> NDArray[np.float64]:
    """Expected number of red cells in the interior of each field, float64 (n,)."""
    out = []
    for item in items:
        red = (item.candidates[:, 5] == 0) & item.interior_candidates
        out.append(float(calibrate(item.candidates[red, 4], points["rbc"]).sum()))
    return np.array(out)


def _interval(drawn: Sequence[float]) -> tuple[float | None, float | None]:
    if len(drawn) < 2:
        return None, None
    low, high = (float(v) for v in np.quantile(drawn, [0.025, 0.975]))
    return low, high


def complete_in(images: Sequence[LabelledImage]) -> Callable[[Examined, str], bool]:
    """Tells whether an image has every cell of a kind labelled."""
    complete: dict[str, frozenset[str]] = {image.name: image.complete for image in images}
    return lambda item, kind: kind in complete[item.name]


def evaluate(checkpoint: Checkpoint, data: Path, part: Part) -> Evaluation:
    """Metrics on one part of the split, by source, the device's way, and under other lights.

    A source that was left out of training is measured alone and whole: it has no parts.
    """
    images = judged(labelled_images(data))
    left_out = checkpoint.record.get("left_out")
    if left_out is None:
        images = model_split(checkpoint.task, checkpoint.record).select(images, part)
    else:
        images = [image for image in images if image.source == left_out]
    images += relabelled(images)
    if not images:
        raise UsageError(f"{data} holds no labelled image to evaluate on")
    finder = bare_finder(TorchRunner(finder_net(checkpoint)), FINDER_MULTIPLE)
    points = operating_points(checkpoint)
    plain = examine(images, finder)
    metrics = measure(plain, points) + measure_lights(images, finder, plain, points)
    if left_out is None and part == "test":
        metrics += measure_isolated(data, finder, points)
    return Evaluation(metrics)
