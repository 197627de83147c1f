"""How good a cell finder is: average precision, interior counts, score calibration.

Evaluation goes the device's way: the image file, the canonical field with the scale estimated
from the image, the device's own reading of the maps; only the network's runtime may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import InputSpec, KindOperatingPoint, Metric, ScoreCalibration
from edgehemo.cells.cell import CELL_KINDS
from edgehemo.cells.finder import CellFinder, calibrate, interior_mask
from edgehemo.field.canonical import (
    CANONICAL_UM_PER_PX,
    UINT8_PER_TRANSMITTANCE,
    CanonicalField,
    canonical_field,
)
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.inference import Runner
from edgehemo_export.data.datasets import LabelledImage
from edgehemo_export.models.finder.lights import LIGHTS

# A candidate is a cell when it overlaps a label at least this much (the VOC rule).
MATCH_IOU = 0.5
BOOTSTRAP_ROUNDS = 400
# Spread of the prior around an uncalibrated score (log slope 0, intercept 0): it decides only
# where right and wrong candidates are too few, or too well apart, to fix a slope.
CALIBRATION_PRIOR_SD = (0.5, 2.0)

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


def match(
    candidates: NDArray[np.float32], labels: NDArray[np.float32], kinds: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Greedy one-to-one matching by falling score within a kind at `MATCH_IOU`; bool (n,)."""
    matched = np.zeros(len(candidates), np.bool_)
    for index in range(len(CELL_KINDS)):
        ours = np.flatnonzero(candidates[:, 5] == index)
        theirs = labels[kinds == index]
        if not len(ours) or not len(theirs):
            continue
        overlap = box_iou(candidates[ours, :4], theirs)
        free = np.ones(len(theirs), np.bool_)
        for i in np.argsort(-candidates[ours, 4], kind="stable"):
            row = np.where(free, overlap[i], 0.0)
            best = int(row.argmax())
            if row[best] >= MATCH_IOU:
                free[best] = False
                matched[ours[i]] = True
    return matched


def box_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of boxes (n, 4) and (m, 4), float32 (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(0, high - low).prod(axis=2)
    area_a = np.maximum(0, a[:, 2:] - a[:, :2]).prod(axis=1)
    area_b = np.maximum(0, b[:, 2:] - b[:, :2]).prod(axis=1)
    union = area_a[:, None] + area_b[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-6), dtype=np.float32)


def fit_operating_points(
    examined: Sequence[Examined], complete: Callable[[Examined, str], bool]
) -> dict[str, KindOperatingPoint]:
    """Score calibration, threshold and count error of each kind, from the tune part.

    ``complete`` tells whether every cell of a kind is labelled in an image; only such images
    count, since a cell without a label would be taken for a false one. The threshold is where as
    many cells are reported as were labelled.
    """
    from scipy.special import expit

    points: dict[str, KindOperatingPoint] = {}
    for index, kind in enumerate(CELL_KINDS):
        # A data root may hold no set that labels every cell of a kind: then what there is serves.
        usable = [item for item in examined if complete(item, kind)] or list(examined)
        if not usable:
            points[kind] = IDENTITY_POINT.model_copy(update={"threshold": 0.5})
            continue
        chosen = [(item.candidates[:, 5] == index) & item.interior_candidates for item in usable]
        scores = np.concatenate([i.candidates[c, 4] for i, c in zip(usable, chosen, strict=True)])
        truth = np.concatenate([i.matched[c] for i, c in zip(usable, chosen, strict=True)])
        labelled = sum(int(((i.label_kinds == index) & i.interior_labels).sum()) for i in usable)
        clipped = np.clip(scores, 1e-6, 1 - 1e-6)
        logit = np.log(clipped / (1 - clipped)).astype(np.float64)
        slope, intercept = _fitted_logistic(logit, truth)
        # Labelled cells that no candidate reached belong into an unbiased expected count.
        wanted, low, high = float(labelled), intercept - 3.0, intercept + 3.0
        for _ in range(60):
            middle = (low + high) / 2
            total = float(expit(slope * logit + middle).sum())
            low, high = (middle, high) if total < wanted else (low, middle)
        calibration = ScoreCalibration(slope=slope, intercept=(low + high) / 2)
        bare = KindOperatingPoint(threshold=0.5, calibration=calibration, count_relative_sd=0.0)
        probability = calibrate(scores, bare)
        ranked = np.sort(probability)[::-1]
        position = min(max(1, labelled), len(ranked)) - 1
        threshold = float(np.clip(ranked[position], 0.3, 0.7)) if len(ranked) else 0.5
        errors, squares = 0.0, 0.0
        for item, mask in zip(usable, chosen, strict=True):
            p = calibrate(item.candidates[mask, 4], bare).astype(float)
            n = float(((item.label_kinds == index) & item.interior_labels).sum())
            errors += (p.sum() - n) ** 2 - float((p * (1 - p)).sum())
            squares += n**2
        spread = float(np.sqrt(max(0.0, errors) / max(1.0, squares)))
        points[kind] = KindOperatingPoint(
            threshold=threshold, calibration=calibration, count_relative_sd=spread
        )
    return points


def _fitted_logistic(logit: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and intercept of P(right | logit) = sigmoid(slope logit + intercept), by MAP."""
    from scipy.optimize import minimize

    sign = np.where(truth, 1.0, -1.0)
    slope_sd, intercept_sd = CALIBRATION_PRIOR_SD

    def cost(at: NDArray[np.float64]) -> float:
        margin = sign * (np.exp(at[0]) * logit + at[1])
        prior = (at[0] / slope_sd) ** 2 + (at[1] / intercept_sd) ** 2
        return float(np.logaddexp(0.0, -margin).sum() + 0.5 * prior)

    found = minimize(cost, np.zeros(2), method="Nelder-Mead")
    return float(np.exp(found.x[0])), float(found.x[1])


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


def average_precision(scores: NDArray[np.float32], truth: NDArray[np.bool_], labels: int) -> float:
    """Average precision over 101 recall levels (COCO), from matched candidates."""
    if len(scores) == 0:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(truth[order])
    precision = right / np.arange(1, len(order) + 1)
    recall = right / labels
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.where(at < len(envelope), envelope[np.minimum(at, len(order) - 1)], 0).mean())


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


def centres_in(boxes: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the centre of each box (n, 4 or more) lies on the mask (h, w); bool (n,)."""
    if len(boxes) == 0:
        return np.zeros(0, np.bool_)
    height, width = mask.shape
    column = np.clip(((boxes[:, 0] + boxes[:, 2]) / 2).astype(int), 0, width - 1)
    row = np.clip(((boxes[:, 1] + boxes[:, 3]) / 2).astype(int), 0, height - 1)
    return np.asarray(mask[row, column], dtype=np.bool_)
