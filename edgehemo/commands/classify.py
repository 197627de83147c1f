"""`edgehemo classify`: what type the one cell of each image is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehemo.commands import common

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import ModelTask
    from edgehemo.images.frame import Frame

# Model -> what `type` says of a picture that holds nothing the model names.
NOT_OF: dict[ModelTask, str] = {
    "nucleated": "not_nucleated_cell",
    "morphology": "not_red_cell",
}
# Model -> the key of that answer's probability.
NOT_OF_KEY: dict[ModelTask, str] = {
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
    task: ModelTask,
    bundle: Path | None,
    um_per_px: float | None,
    json_file: str | None,
) -> int:
    """Classify the one cell in the middle of each IMAGE (files or folders, any size).

    `type` is the likeliest class; `certain` is false where no single class reaches its threshold,
    and `candidates` are those that do. `probabilities` are over the model's classes; what it takes
    for none of them is `type` not_nucleated_cell or not_red_cell, its probability apart under
    not_nucleated_probability or not_red_cell_probability. Without --um-per-px the scale is
    measured on the red cells, else assumed. Give it for morphology: a red cell measured on itself
    cannot be called large or small.
    """
    from edgehemo.device.equipment import open_one_classifier

    classifier = open_one_classifier(bundle, task)

    def classified(frame: Frame) -> dict[str, Any]:
        verdict, scale = classifier.classify(frame, um_per_px)
        entry: dict[str, Any] = {
            "width": frame.width,
            "height": frame.height,
            "um_per_px": scale.um_per_px,
            "scale_source": scale.source,
            "type": verdict.type if verdict.type is not None else NOT_OF[task],
            "score": verdict.score,
            "certain": verdict.certain,
            "candidates": list(verdict.candidates),
            "probabilities": verdict.probabilities,
        }
        if classifier.entry.rejects:
            entry[NOT_OF_KEY[task]] = verdict.rejected
        return entry

    entries = common.read_each(images, classified, "classifying")
    for entry in common.readable(entries):
        doubt = "" if entry["certain"] else " (uncertain)"
        common.say(f"{entry['image']}: {entry['type']} {entry['score']:.2f}{doubt}", json_file)
    content: dict[str, Any] = {"model": task, "images": entries}
    rule = classifier.entry.conformal
    if rule is not None:
        content["coverage"] = rule.coverage
    common.write_json(json_file, "classify", content)
    return common.exit_code(entries, withheld=False)
