"""One run of `edgehemo train cell-finder` and of `edgehemo evaluate`, from data root to file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.canonical_set import prepare_all
from edgehemo_export.data.envelope import training_envelope
from edgehemo_export.data.relabels import completed, labelled_images
from edgehemo_export.data.sets.own import own_licences
from edgehemo_export.data.simulated.fields import SOURCE as SIMULATED
from edgehemo_export.data.simulated.fields import simulated_examples
from edgehemo_export.data.splits import CURRENT
from edgehemo_export.models.finder.card import card
from edgehemo_export.models.finder.checkpoint import TASK
from edgehemo_export.models.finder.data import LICENCES, judged, without
from edgehemo_export.models.finder.evaluation import (
    bare_finder,
    complete_in,
    evaluate,
    examine,
)
from edgehemo_export.models.finder.export import export_subject
from edgehemo_export.models.finder.narrowing import narrowed_head
from edgehemo_export.models.finder.operating_points import fit_operating_points
from edgehemo_export.models.finder.training import (
    FinderTask,
    FinderTrainingConfig,
    read_config,
    shares_with_own,
)
from edgehemo_export.nets.architectures import FINDER_MULTIPLE, CellFinderNet
from edgehemo_export.nets.torch_runner import TorchRunner
from edgehemo_export.training.loop import train
from edgehemo_export.training.record import run_record
from edgehemo_export.training.task import Run

__all__ = ["card", "evaluate", "export_subject", "read_config", "run_training"]


def run_training(
    data: Path,
    config: FinderTrainingConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """Read, train, set the operating points on the tune part; the test part is not looked at."""
    config = shares_with_own(config, data)
    images = without(labelled_images(data), run.leave_out)
    cache = work / "cache"
    training = completed(CURRENT.select(images, "train"))
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
    tune = judged(run.split.select(images, "tune"))
    if not tune:
        raise UsageError(
            f"{data}: no kept-out picture has all its cells of a kind boxed, so no threshold can "
            'be set; say complete = ["wbc"] (the kinds of which every cell has a box) in '
            "dataset.toml"
        )
    finder = bare_finder(TorchRunner(net), FINDER_MULTIPLE)
    points = fit_operating_points(examine(tune, finder), complete_in(tune))
    sources = sorted({example.source for example in examples})
    licences = {**LICENCES, **own_licences(data)}
    record: dict[str, Any] = {
        **run_record(config, state, run),
        "images": {
            source: sum(example.source == source for example in examples) for source in sources
        },
        "training_data": [licences.get(source, source) for source in sources],
        "operating_points": {kind: point.model_dump() for kind, point in points.items()},
        "training_envelope": training_envelope(training, seed=config.loop.seed).model_dump(),
    }
    return Checkpoint(TASK, dict(net.state_dict()), record)
