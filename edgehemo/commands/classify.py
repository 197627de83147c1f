"""`edgehemo classify`: what type the one cell of each image is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common

if TYPE_CHECKING:
    from edgehemo.images.frame import Frame
    from edgehemo.screening.output import CellModel, ClassifyEntry

# Model -> what `type` says of a picture that holds nothing the model names.
NOT_OF: dict[CellModel, str] = {
    "nucleated": "not_nucleated_cell",
    "morphology": "not_red_cell",
}
# Model -> the key of that answer's probability.
NOT_OF_KEY: dict[CellModel, str] = {
    "nucleated": "not_nucleated_probability",
    "morphology": "not_red_cell_probability",
}


@click.command()
@common.images_argument
@click.option(
    "--model",
    "task",
    type=click.Choice(sorted(NOT_OF)),
    required=True,
    help="nucleated: white cells, their precursors, platelets; morphology: red cells.",
)
@common.bundle_option
@common.scale_option
@common.json_option
def classify(
    images: tuple[str, ...],
    task: CellModel,
    bundle: Path | None,
    um_per_px: float | None,
    json_file: str | None,
) -> int:
    """Classify the one cell in the middle of each IMAGE (files or folders, any size).

    `type` is the likeliest class; `certain` is false where no single class reaches its
    threshold, where the cell looks unlike all that the model learnt from (`unlike`), or where
    its outline is not that of the type: then a person names it. `candidates` are the classes
    that reach theirs. `probabilities` are over the model's classes; what it takes for none of
    them is `type` not_nucleated_cell or not_red_cell, its probability apart under
    not_nucleated_probability or not_red_cell_probability. Without --um-per-px the scale is
    measured on the red cells, else assumed. Give it for morphology: a red cell measured on
    itself cannot be called large or small.
    """
    from msgspec import UNSET

    from edgehemo.device.equipment import open_one_classifier
    from edgehemo.screening.output import ClassifyEntry, ClassifyOutput

    classifier = open_one_classifier(bundle, task)

    def classified(frame: Frame) -> ClassifyEntry:
        verdict, scale = classifier.classify(frame, um_per_px)
        entry = ClassifyEntry(
            image=frame.source,
            width=frame.width,
            height=frame.height,
            um_per_px=scale.um_per_px,
            scale_source=scale.source,
            type=verdict.type if verdict.type is not None else NOT_OF[task],
            score=verdict.score,
            certain=verdict.certain,
            candidates=verdict.candidates,
            unlike=verdict.unlike,
            outline_allows=verdict.outline_allows,
            familiarity=verdict.familiarity,
            probabilities=verdict.probabilities,
        )
        if classifier.entry.rejects:
            return entry.model_copy(update={NOT_OF_KEY[task]: verdict.rejected})
        return entry

    entries = common.read_each(images, classified, "classifying")
    for entry in common.readable(entries):
        common.say(f"{entry.image}: {_said(entry)}", json_file)
    rule = classifier.entry.conformal
    coverage = UNSET if rule is None else rule.coverage
    common.write_json(json_file, ClassifyOutput(model=task, images=entries, coverage=coverage))
    return common.exit_code(entries, withheld=False)


def _said(entry: ClassifyEntry) -> str:
    """A line on one picture: its type, or that it is uncertain and why."""
    if entry.certain:
        return f"{entry.type} {entry.score:.2f}"
    why = f"most like {entry.type}, {entry.score:.2f}"
    if entry.unlike:
        why += "; unlike the cells that the model learnt from"
    elif not entry.outline_allows:
        why += "; its outline is another one"
    return f"uncertain ({why})"
