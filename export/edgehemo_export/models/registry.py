"""The one table of what can be trained, evaluated and exported: it drives the command line.

Each task's module answers the functions of `TaskModule`; it is imported when one of them is
called, so that the table itself costs no PyTorch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from edgehemo.bundle.manifest import ModelTask
from edgehemo_export.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from edgehemo_export.checkpoints import Checkpoint
    from edgehemo_export.data.splits import Part
    from edgehemo_export.quantisation.subject import ExportSubject
    from edgehemo_export.training.loop import Run, TaskConfiguration


class TaskModule(Protocol):
    """What the module of a task answers."""

    def read_config(
        self, path: Path | None = None, changes: Mapping[str, Any] | None = None
    ) -> TaskConfiguration:
        """The shipped configuration, overridden by a TOML file and by single changes."""
        ...

    def run_training(
        self,
        data: Path,
        config: Any,
        work: Path,
        run: Run,
    ) -> Checkpoint:
        """Train on the training part, set what is to be set on the tune part.

        Where the run leaves a source out, the record's ``left_out`` names it, and `evaluate` then
        measures on that source alone, all of it.
        """
        ...

    def evaluate(self, checkpoint: Checkpoint, data: Path, part: Part) -> Evaluation:
        """Measure on one part of the split, the way the device reads it."""
        ...

    def card(self, checkpoint: Checkpoint) -> str:
        """The model card as Markdown, from the checkpoint's record."""
        ...

    def export_subject(self, checkpoint: Checkpoint) -> ExportSubject:
        """What the exporter needs to know of the model."""
        ...


@dataclass(frozen=True)
class Task:
    """name: as the command line spells it. task: in checkpoints and bundles. says: its help."""

    name: str
    task: ModelTask
    module: str
    says: str

    def load(self) -> TaskModule:
        return cast(TaskModule, importlib.import_module(f"edgehemo_export.{self.module}"))


TASKS: tuple[Task, ...] = (
    Task(
        "cell-finder", "cell_finder", "models.finder.run", "finds red cells, white cells, platelets"
    ),
    Task(
        "nucleated",
        "nucleated",
        "models.classifiers.nucleated.run",
        "names nucleated cells and platelets",
    ),
    Task(
        "morphology",
        "morphology",
        "models.classifiers.morphology.run",
        "names the thirteen types of red cells",
    ),
    Task(
        "field-estimator",
        "field_estimator",
        "models.field_estimator.run",
        "reads what tiles hold of haemoglobin, volume and red cells",
    ),
    Task(
        "anaemia-screen",
        "anaemia_screen",
        "models.anaemia_screen.run",
        "calls fields anaemia-like or not",
    ),
)
BY_NAME: Mapping[str, Task] = {task.name: task for task in TASKS}
BY_TASK: Mapping[str, Task] = {task.task: task for task in TASKS}
