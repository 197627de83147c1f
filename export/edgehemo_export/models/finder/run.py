"""One run of `edgehemo train cell-finder` and of `edgehemo evaluate`, from data root to file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgehemo.bundle.manifest import KindOperatingPoint
from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.canonical_set import prepare_all
from edgehemo_export.data.datasets import LabelledImage, completed, read_data_root, relabelled
from edgehemo_export.data.envelope import training_envelope
from edgehemo_export.data.simulated_set import SOURCE as SIMULATED
from edgehemo_export.data.simulated_set import simulated_examples
from edgehemo_export.data.splits import Part, part_of
from edgehemo_export.evaluation.evaluation import Evaluation
from edgehemo_export.models.finder.card import finder_card
from edgehemo_export.models.finder.evaluation import (
    Examined,
    bare_finder,
    examine,
    fit_operating_points,
    measure,
    measure_lights,
)
from edgehemo_export.models.finder.export import finder_subject
from edgehemo_export.models.finder.isolated import measure_isolated
from edgehemo_export.models.finder.narrowing import narrowed_head
from edgehemo_export.models.finder.training import FinderTask, FinderTrainingConfig, read_config
from edgehemo_export.nets.architectures import FINDER_MULTIPLE, CellFinderConfig, CellFinderNet
from edgehemo_export.nets.torch_runner import TorchRunner
from edgehemo_export.quantisation.subject import ExportSubject
from edgehemo_export.training.loop import Run, run_record, train

__all__ = ["card", "evaluate", "export_subject", "read_config", "run_training"]

TASK = "cell_finder"
LICENCES = {
    "bccd": "BCCD (Shenggan/BCCD_Dataset), MIT, with boxes of this project where it lacks them",
    "txl_pbc": "TXL-PBC crops of PBC Barcelona (Acevedo et al. 2020), MIT and CC BY 4.0",
    "txl_raabin": "TXL-PBC crops of Raabin-WBC, MIT",
    "chula_rbc12": "Chula RBC-12 (Chula-PIC-Lab), MIT, boxes of this project at its points",
    "chula_disease": "Chula fields by diagnosis (Chula-PIC-Lab), MIT, boxes of this project",
    SIMULATED: "the simulated microscope of this project, CBC panels after AneRBC (CC BY 4.0)",
}


def images_of(images: Sequence[LabelledImage], part: Part) -> list[LabelledImage]:
    """The images of one part of the split."""
    return [image for image in images if part_of(image.group) == part]


def run_training(
    data: Path,
    config: FinderTrainingConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """Read, train, set the operating points on the tune part; the test part is not looked at."""
    images = without(read_data_root(data), run.leave_out)
    cache = work / "cache"
    training = completed(images_of(images, "train"))
    examples = prepare_all(training, cache, progress=run.show_progress)
    if config.source_shares.get(SIMULATED, 0.0) > 0 and config.simulated.fields > 0:
        examples += simulated_examples(
            config.simulated.fields,
            side_px=config.simulated.side_px,
            seed=config.loop.seed,
            cache=cache,
            progress=run.show_progress,
        )
    earlier = None if run.initial is None else run.initial.weights
    if earlier is not None:
        earlier = narrowed_head(earlier, config.model.head)
    net, state = train(
        FinderTask(examples, config),
        lambda: CellFinderNet(config.model),
        config,
        work,
        run,
        weights=earlier,
        strict=True,
    )
    tune = judged(images_of(images, "tune"))
    finder = bare_finder(TorchRunner(net), FINDER_MULTIPLE)
    points = fit_operating_points(examine(tune, finder), complete_in(tune))
    sources = sorted({example.source for example in examples})
    record: dict[str, Any] = {
        **run_record(config, state, run),
        "images": {
            source: sum(example.source == source for example in examples) for source in sources
        },
        "training_data": [LICENCES.get(source, source) for source in sources],
        "operating_points": {kind: point.model_dump() for kind, point in points.items()},
        "training_envelope": training_envelope(training, seed=config.loop.seed).model_dump(),
    }
    return Checkpoint(TASK, dict(net.state_dict()), record)


def without(images: Sequence[LabelledImage], left_out: str | None) -> list[LabelledImage]:
    """The images of all sources but one; UsageError where there is no such source."""
    sources = sorted({image.source for image in images})
    if left_out is not None and left_out not in sources:
        raise UsageError(
            f"--leave-out {left_out}: no such source here; there are {', '.join(sources)}"
        )
    return [image for image in images if image.source != left_out]


def judged(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Images that can say how good a finder is: all cells of a kind or more are labelled."""
    return [image for image in images if image.complete]


def complete_in(images: Sequence[LabelledImage]) -> Callable[[Examined, str], bool]:
    """Tells whether an image has every cell of a kind labelled."""
    complete: dict[str, frozenset[str]] = {image.name: image.complete for image in images}
    return lambda item, kind: kind in complete[item.name]


def finder_net(checkpoint: Checkpoint) -> CellFinderNet:
    """The network of a checkpoint, in evaluation mode."""
    if checkpoint.task != TASK:
        raise UsageError(f"a checkpoint of {checkpoint.task}, not of the cell finder")
    net = CellFinderNet(CellFinderConfig(**checkpoint.record["configuration"]["model"]))
    net.load_state_dict(checkpoint.weights)
    return net.eval()


def operating_points(checkpoint: Checkpoint) -> dict[str, KindOperatingPoint]:
    """The operating points that training stored."""
    stored = checkpoint.record["operating_points"]
    return {kind: KindOperatingPoint.model_validate(values) for kind, values in stored.items()}


def evaluate(checkpoint: Checkpoint, data: Path, part: Part) -> Evaluation:
    """Metrics on one part of the split, by source, the device's way, and under other lights.

    A source that was left out of training is measured alone and whole: it has no parts.
    """
    images = judged(read_data_root(data))
    left_out = checkpoint.record.get("left_out")
    if left_out is None:
        images = images_of(images, part)
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


def export_subject(checkpoint: Checkpoint) -> ExportSubject:
    """What the exporter needs to know of a trained finder."""
    return finder_subject(checkpoint, finder_net(checkpoint), operating_points(checkpoint))


def card(checkpoint: Checkpoint) -> str:
    """The model card, from the checkpoint's record."""
    return finder_card(checkpoint)
