"""Types of the cells that the finder found, through the bundle's classifiers.

A cell is named when exactly one class's probability reaches its conformal threshold, that class is
a type, the cell looks like those the classifier learnt from, and its outline allows the type. A
white cell of a strange look is asked again with its stain matched to one that the classifier knows.
Every other cell is `uncertain`, for a person to name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import DEFAULT_FORMAT
from edgehemo.cells.cell import UNCERTAIN, Cell, CellKind, FieldCells
from edgehemo.cells.crops import CropScale, canonical_crop, crop_scale, crops_at
from edgehemo.cells.outline import Outline, outline_in_middle, outlines_at
from edgehemo.cells.second_look import NO_NUCLEUS_FROM, as_red_cells
from edgehemo.cells.shapes import allows
from edgehemo.cells.stain_match import Colour, matched, outside_middle, red_cell_colour
from edgehemo.errors import BundleError, FieldError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField
from edgehemo.images.frame import Frame
from edgehemo.inference import Runner, open_model

if TYPE_CHECKING:
    from edgehemo.bundle.bundle import Bundle
    from edgehemo.bundle.manifest import ArtefactFormat, ModelEntry, ModelTask, Precision

# Which model names which of the finder's kinds. A platelet has no further types: the finder has
# said all there is to say (asked of it, the nucleated model found every one uncertain).
# White cells first: what turns out to be a red one is asked of the red cells' model.
TASK_OF_KIND: Mapping[CellKind, ModelTask] = {"wbc": "nucleated", "rbc": "morphology"}
# A box this near to the frame's border, px, reaches it.
BORDER_PX = 1.0
PLATELET = "platelet"
# Names that no healthy blood bears out. One source alone teaches each of them, so that a network
# may take the source's look for the type: a cell must be as familiar as one named abroad.
ALARMING_TYPES = ("myeloblast", "erythroblast", "immature_granulocyte")
# What a stranger may be called once its stain is matched: the commonest types of healthy blood. Of
# the others one source alone teaches each, and an overstained nucleus looks like a basophil.
MATCHED_TYPES = ("neutrophil", "eosinophil", "lymphocyte", "monocyte")
# Such a cell is named from this probability on, where it had at least that one before. Set on LMU's
# and BCCD's white cells, each left out of a training whole (benchmarks/white_cells_abroad.py).
MATCHED_SCORE_FROM = 0.95
MATCHED_SCORE_BEFORE = 0.02
# Of a single picture the red cells around the middle tell the stain: a picture so much wider than
# the model's crop, without so much of the crop's middle.
SURROUNDINGS, MIDDLE = 4 / 3, 5 / 8
# A platelet the finder gives less than even odds stays `uncertain`.
SURE_PLATELET_SCORE = 0.5
# Crops of one run where the graph leaves their number free: bounds memory, and keeps the layers'
# maps of a batch in the processor's cache. Measured on x86-64 with ONNX Runtime, one thread, ms a
# crop: nucleated 2.45 alone, 2.25 from 8 to 24, 2.5 of 112 at once; morphology 0.165 alone, 0.125
# from 8 on.
MAX_BATCH = 16
# Side of the crop on which a single red cell's outline is measured: a long cell fits.
OUTLINE_SIDE_PX = 88


@dataclass(frozen=True, slots=True)
class Naming:
    """What classifiers say of n cells.

    names: a type each or `uncertain`. scores: float32 (n,), the probability of that type, of the
    likeliest type where uncertain. familiarity: float32 (n,), None where the classifier tells none.
    """

    names: tuple[str, ...]
    scores: NDArray[np.float32]
    familiarity: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a classifier says of one picture.

    type: the likeliest class, None where that is none of the model's types. score: its
    probability. certain: the conformal rule names it. candidates: every class that reaches its
    threshold. probabilities: of the types; rejected: of being none of them. familiarity: how like
    the cells that the classifier learnt from, None where it tells none; unlike: too little to be
    named. outline_allows: False where the cell's outline is not that of the likeliest type.
    """

    type: str | None
    score: float
    certain: bool
    candidates: tuple[str, ...]
    probabilities: dict[str, float]
    rejected: float
    familiarity: float | None = None
    unlike: bool = False
    outline_allows: bool = True

    def __repr__(self) -> str:
        doubt = "" if self.certain else f", uncertain between {list(self.candidates)}"
        return f"<Verdict {self.type or 'none of the types'} {self.score:.2f}{doubt}>"


class CellClassifier:
    """One loaded classifier; make one with `open_classifier`."""

    def __init__(self, runner: Runner, entry: ModelEntry, *, batch: int | None = None) -> None:
        """batch: how many crops the graph takes at once, None where it is free."""
        spec = entry.input
        if spec.height_px is None or spec.width_px != spec.height_px or spec.um_per_px is None:
            raise BundleError(
                f"{entry.name}: a classifier needs square crops of a fixed size and scale; "
                "export the bundle again"
            )
        self.runner = runner
        self.entry = entry
        self.side_px = spec.height_px
        self.um_per_px = spec.um_per_px
        self.types = tuple(name for name in entry.classes if name not in entry.rejects)
        self._batch = batch
        self._is_type = np.array([name not in entry.rejects for name in entry.classes])
        self._alarms = np.isin(entry.classes, ALARMING_TYPES)
        rule = entry.conformal
        # A class without a threshold of its own is never in the set.
        self._thresholds = (
            np.array([rule.thresholds.get(name, np.inf) for name in entry.classes])
            if rule is not None
            else None
        )

    def answers(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the graph answers to crops uint8 (n, side, side, 3), canonical codes: float32
        (n, classes), the probabilities, and the familiarity behind them where the model tells it.
        """
        found = [np.zeros((0, self.entry.output_values), np.float32)]
        size = self._batch or MAX_BATCH
        for start in range(0, len(crops), size):
            part = crops[start : start + size]
            held = len(part)
            if self._batch is not None and held < size:
                part = np.concatenate([part, np.repeat(part[-1:], size - held, axis=0)])
            found.append(self.runner.run(np.ascontiguousarray(part))[:held])
        return np.concatenate(found)

    def probabilities(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (n, classes) of crops uint8 (n, side, side, 3), canonical codes."""
        return self._probabilities(self.answers(crops))

    def _probabilities(self, answers: NDArray[np.float32]) -> NDArray[np.float32]:
        return answers[..., : len(self.entry.classes)]

    def familiarity(self, answers: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """float32 (n,) of answers, None where the model tells none."""
        return None if self.entry.familiarity is None else answers[..., len(self.entry.classes)]

    def named(self, answers: NDArray[np.float32]) -> Naming:
        """Types by the conformal rule; the likeliest class where the bundle holds no rule.

        answers: float32 (n, ...), see `answers`.
        """
        probabilities, familiarity = self._probabilities(answers), self.familiarity(answers)
        likeliest = probabilities.argmax(axis=1)
        if self._thresholds is None:
            chosen, sure = likeliest, self._is_type[likeliest]
        else:
            reached = probabilities >= self._thresholds
            chosen = reached.argmax(axis=1)
            sure = (reached.sum(axis=1) == 1) & self._is_type[chosen]
        if familiarity is not None and (rule := self.entry.familiarity) is not None:
            asked = np.where(self._alarms[chosen], rule.strange_cell_from, rule.cell_from)
            sure &= familiarity >= asked
        of_types = np.where(self._is_type, probabilities, -1.0)
        scores = np.where(
            sure, probabilities[np.arange(len(chosen)), chosen], of_types.max(axis=1, initial=0.0)
        )
        names = tuple(
            self.entry.classes[index] if certain else UNCERTAIN
            for index, certain in zip(chosen.tolist(), sure.tolist(), strict=True)
        )
        return Naming(names, scores.astype(np.float32), familiarity)

    def rejected(self, answers: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (n,): how probable it is that each is none of the model's types."""
        none: NDArray[np.float32] = self._probabilities(answers)[:, ~self._is_type].sum(axis=1)
        return none

    def named_by_match(
        self,
        crops: NDArray[np.uint8],
        answers: NDArray[np.float32],
        red_cell: Colour | None,
    ) -> Mapping[int, NDArray[np.float32]]:
        """Of the cells whose look is strange those that are named once their stain is matched.

        crops: uint8 (n, side, side, 3), canonical codes. answers: float32 (n, ...), to them.
        red_cell: the colour of the red cells beside them. By their place the row of `answers` to
        the matched crop; the likeliest class in it is the name.
        """
        rule, familiarity = self.entry.familiarity, self.familiarity(answers)
        may = np.isin(self.entry.classes, MATCHED_TYPES)
        if rule is None or familiarity is None or red_cell is None or not may.any():
            return {}
        strangers = np.flatnonzero(familiarity < rule.strange_cell_from).tolist()
        recoloured = {
            place: crop
            for place in strangers
            if (crop := matched(crops[place], red_cell)) is not None
        }
        if not recoloured:
            return {}
        places = list(recoloured)
        again = self.answers(np.stack(list(recoloured.values())))
        probabilities, known = self._probabilities(again), self.familiarity(again)
        best = probabilities.argmax(axis=1)
        before = self._probabilities(answers)[places, best]
        sure = may[best] & (probabilities.max(axis=1) >= MATCHED_SCORE_FROM)
        sure &= before >= MATCHED_SCORE_BEFORE
        if known is not None:
            sure &= known >= rule.cell_from
        return {places[index]: again[index] for index in np.flatnonzero(sure).tolist()}

    def verdict(self, answer: NDArray[np.float32], outline: Outline | None = None) -> Verdict:
        """All there is to say of one picture, from its row of `answers`, float32 (...,).

        outline: of the cell, where it is a red one and has one.
        """
        probabilities = self._probabilities(answer)
        classes, rejects = self.entry.classes, self.entry.rejects
        by_name = dict(zip(classes, probabilities.tolist(), strict=True))
        rejected = sum(by_name[name] for name in rejects)
        types = {name: by_name[name] for name in self.types}
        best = max(types, key=types.__getitem__)
        naming = self.named(answer[None])
        allowed = outline is None or allows(best, outline)
        is_type = types[best] >= rejected
        candidates: tuple[str, ...] = (best,) if is_type else ()
        if self._thresholds is not None:
            reached = (probabilities >= self._thresholds).tolist()
            candidates = tuple(name for name, into in zip(classes, reached, strict=True) if into)
        familiarity, rule = naming.familiarity, self.entry.familiarity
        known = None if familiarity is None else float(familiarity[0])
        return Verdict(
            type=best if is_type else None,
            score=types[best] if is_type else rejected,
            certain=is_type and naming.names[0] == best and allowed,
            candidates=candidates,
            probabilities=types,
            rejected=rejected,
            familiarity=known,
            unlike=rule is not None and known is not None and known < rule.cell_from,
            outline_allows=allowed,
        )

    def classify(self, frame: Frame, um_per_px: float | None = None) -> tuple[Verdict, CropScale]:
        """What the one cell in the middle of a frame is, and the scale it was seen at.

        um_per_px: see `crop_scale`. Raises FieldError, with the frame's name, where no crop can be
        made of it.
        """
        try:
            scale = crop_scale(frame.pixels, um_per_px, of_red_cell=self.entry.task == "morphology")
            crop = canonical_crop(
                frame.pixels, scale.um_per_px, self.side_px, crop_um_per_px=self.um_per_px
            )
        except FieldError as error:
            raise FieldError(f"{frame.source}: {error}") from None
        answer = self.answers(crop[None])
        if self.entry.task == "morphology":
            wider = canonical_crop(frame.pixels, scale.um_per_px, OUTLINE_SIDE_PX)
            return self.verdict(answer[0], outline_in_middle(wider)), scale
        verdict = self.verdict(answer[0])
        if verdict.certain and not verdict.unlike:
            return verdict, scale
        side = round(self.side_px * SURROUNDINGS)
        wider = canonical_crop(frame.pixels, scale.um_per_px, side, crop_um_per_px=self.um_per_px)
        around = outside_middle(side, round(self.side_px * MIDDLE))
        again = self.named_by_match(crop[None], answer, red_cell_colour(wider, around))
        if 0 in again:
            verdict = self.verdict(again[0])
            verdict = replace(verdict, certain=True, candidates=(str(verdict.type),))
        return verdict, scale

    def of_cells(
        self, codes: NDArray[np.uint8], centres: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """`answers` to the cells at ``centres`` (n, 2), x y in canonical px.

        codes: uint8 (h, w, 3), `CanonicalField.to_uint8`. Crops are cut batch by batch.
        """
        found = [np.zeros((0, self.entry.output_values), np.float32)]
        size = self._batch or MAX_BATCH
        for start in range(0, len(centres), size):
            found.append(self.answers(self.crops(codes, centres[start : start + size])))
        return np.concatenate(found)

    def crops(self, codes: NDArray[np.uint8], centres: NDArray[np.float32]) -> NDArray[np.uint8]:
        """What the model sees of these cells, uint8 (n, side, side, 3); see `of_cells`."""
        return crops_at(
            codes,
            centres,
            self.side_px,
            field_px_per_crop_px=self.um_per_px / CANONICAL_UM_PER_PX,
        )


@dataclass(frozen=True, slots=True)
class CellTyper:
    """The classifiers of a bundle, by task; without one a kind's cells stay as they were found."""

    classifiers: Mapping[ModelTask, CellClassifier]

    def typed(self, field: CanonicalField, found: FieldCells) -> FieldCells:
        """The cells of a field with their types.

        White cells come first: those without a nucleus are red cells after all (`second_look`) and
        get a red cell's type. One that the picture's border cuts stays `uncertain`: a part of a
        nucleus looks like a younger one.
        """
        found = replace(found, cells=tuple(map(_typed_platelet, found.cells)))
        if not self.classifiers:
            return found
        codes = field.to_uint8()
        for kind, task in TASK_OF_KIND.items():
            classifier = self.classifiers.get(task)
            which = [index for index, cell in enumerate(found.cells) if cell.kind == kind]
            if classifier is None or not which:
                continue
            centres = _centres([found.cells[index] for index in which], field)
            answers = classifier.of_cells(codes, centres)
            found = _with_types(found, which, classifier.named(answers))
            if kind == "wbc":
                found = _cut_ones_unnamed(found, which, field)
                rejected = classifier.rejected(answers).tolist()
                sure = [i for i, p in zip(which, rejected, strict=True) if p >= NO_NUCLEUS_FROM]
                found = as_red_cells(found, sure, field)
                found = _by_matched_stain(found, which, answers, classifier, field, codes)
            elif kind == "rbc":
                found = _by_outline(found, which, field, codes)
        return found


def is_cut(cell: Cell, field: CanonicalField) -> bool:
    """Whether the frame's border cuts a cell."""
    inner_right, inner_bottom = field.frame_width - BORDER_PX, field.frame_height - BORDER_PX
    return min(cell.x0, cell.y0) <= BORDER_PX or cell.x1 >= inner_right or cell.y1 >= inner_bottom


def _cut_ones_unnamed(found: FieldCells, which: Sequence[int], field: CanonicalField) -> FieldCells:
    cells = list(found.cells)
    for index in which:
        if is_cut(cells[index], field):
            cells[index] = replace(cells[index], type=UNCERTAIN)
    return replace(found, cells=tuple(cells))


def _by_matched_stain(
    found: FieldCells,
    which: Sequence[int],
    answers: NDArray[np.float32],
    classifier: CellClassifier,
    field: CanonicalField,
    codes: NDArray[np.uint8],
) -> FieldCells:
    """With the names of white cells that are known once their stain is matched, where they had none
    or this one; their familiarity stays what it was, for the sample's sake.
    """
    asked = [
        place
        for place, index in enumerate(which)
        if found.cells[index].kind == "wbc"
        and not found.cells[index].inclusion
        and not is_cut(found.cells[index], field)
    ]
    if not asked:
        return found
    red_cell = red_cell_colour(codes, _red_cells(found, field))
    crops = classifier.crops(codes, _centres([found.cells[which[place]] for place in asked], field))
    cells, places = list(found.cells), set(found.matched)
    for place, answer in classifier.named_by_match(crops, answers[asked], red_cell).items():
        index = which[asked[place]]
        verdict = classifier.verdict(answer)
        if verdict.type is not None and cells[index].type in (UNCERTAIN, verdict.type):
            cells[index] = replace(cells[index], type=verdict.type, type_score=verdict.score)
            places.add(index)
    return replace(found, cells=tuple(cells), matched=frozenset(places))


def _red_cells(found: FieldCells, field: CanonicalField) -> NDArray[np.bool_]:
    """Where red cells lie and white ones do not, bool (h, w), canonical px."""
    across, down = field.frame_px_per_canonical_px
    out = np.zeros((field.height, field.width), np.bool_)
    for cells, inside in ((found.of_kind("rbc"), True), (found.of_kind("wbc"), False)):
        for cell in cells:
            x0, y0 = int(cell.x0 / across), int(cell.y0 / down)
            out[y0 : int(cell.y1 / down) + 1, x0 : int(cell.x1 / across) + 1] = inside
    return out


def _by_outline(
    found: FieldCells, which: Sequence[int], field: CanonicalField, codes: NDArray[np.uint8]
) -> FieldCells:
    """Without the names that the cells' outlines do not allow."""
    named = [index for index in which if found.cells[index].type != UNCERTAIN]
    across, down = field.frame_px_per_canonical_px
    boxes = np.array([found.cells[i].box for i in named], np.float32).reshape(-1, 4)
    boxes /= np.array([across, down, across, down], np.float32)
    cells = list(found.cells)
    for index, outline in zip(named, outlines_at(codes, boxes, valid=field.valid), strict=True):
        if not allows(cells[index].type, outline):
            cells[index] = replace(cells[index], type=UNCERTAIN)
    return replace(found, cells=tuple(cells))


def _with_types(found: FieldCells, which: Sequence[int], naming: Naming) -> FieldCells:
    """The cells at these places of ``found.cells`` with their names and scores."""
    cells = list(found.cells)
    known = [None] * len(which) if naming.familiarity is None else naming.familiarity.tolist()
    scores = naming.scores.tolist()
    for index, name, score, familiarity in zip(which, naming.names, scores, known, strict=True):
        cell = cells[index]
        # What lies in or on a cell is not its shape: its type is a person's to say.
        named = UNCERTAIN if cell.inclusion or index in found.hidden else name
        cells[index] = replace(cell, type=named, type_score=score, familiarity=familiarity)
    return replace(found, cells=tuple(cells))


def _typed_platelet(cell: Cell) -> Cell:
    """A platelet with its one type, as probable as the finder says; others as they are."""
    if cell.kind != PLATELET:
        return cell
    name = PLATELET if cell.score >= SURE_PLATELET_SCORE else UNCERTAIN
    return replace(cell, type=name, type_score=cell.score)


def _centres(cells: Sequence[Cell], field: CanonicalField) -> NDArray[np.float32]:
    """Centres in canonical px, float32 (n, 2), x y."""
    across, down = field.frame_px_per_canonical_px
    centres = np.array([cell.centre for cell in cells], dtype=np.float32)
    centres /= np.array([across, down], np.float32)
    return centres


def open_classifier(
    bundle: Bundle,
    task: ModelTask,
    *,
    threads: int,
    runtime: ArtefactFormat = DEFAULT_FORMAT,
    precision: Precision | None = None,
) -> CellClassifier:
    """Open the bundle's classifier for a task.

    Raises BundleError where the bundle has none, or none for the runtime.
    """
    artefact, runner = open_model(
        bundle, task, threads=threads, runtime=runtime, precision=precision
    )
    entry = bundle.model(task)
    spec = entry.input_of(artefact)
    batch = runner.input_shape[0]
    return CellClassifier(runner, entry.model_copy(update={"input": spec}), batch=batch)


def open_cell_typer(
    bundle: Bundle,
    *,
    threads: int,
    runtime: ArtefactFormat = DEFAULT_FORMAT,
    precision: Precision | None = None,
) -> CellTyper:
    """Open what classifiers the bundle holds; it may hold none."""
    tasks = dict.fromkeys(task for task in TASK_OF_KIND.values() if bundle.has(task))
    return CellTyper(
        {
            task: open_classifier(
                bundle, task, threads=threads, runtime=runtime, precision=precision
            )
            for task in tasks
        }
    )
