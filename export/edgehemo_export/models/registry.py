"""The one table of what can be trained, evaluated and exported: it drives the command line.

Each model has a folder with the same file names in it (`PARTS`). Where it has no file of its own
for a part, the one in the folder above serves, which its siblings share. Its `run` answers the
functions of `TaskModule`. All are imported when one of them is called, so that the table itself
costs no PyTorch.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from edgehemo.bundle.manifest import ModelTask
from edgehemo.errors import UsageError
from edgehemo_export.configuration import CONFIGS
from edgehemo_export.evaluation.evaluation import Evaluation

if TYPE_CHECKING:
    from edgehemo_export.checkpoints import Checkpoint
    from edgehemo_export.data.splits import Part
    from edgehemo_export.quantisation.subject import ExportSubject
    from edgehemo_export.training.task import Run, TaskConfiguration

# The files of a model's folder, in the order in which its data flow, with what each is for.
PARTS: Mapping[str, str] = {
    "data": "what it learns from and is measured on: pictures chosen, read, cut",
    "training": "its configuration, how examples are drawn and varied, its loss",
    "checkpoint": "what training stored: the network, and how its answers are read",
    "evaluation": "how good it is on a part of the split",
    "export": "the model as the exporter sees it",
    "card": "its model card",
    "run": "one run of `edgehemo train`, from data root to checkpoint, and the model's face",
}


class TaskModule(Protocol):
    """What the `run` of a model answers."""

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
    """name: as the command line spells it. task: in checkpoints and bundles. package: of its
    folder, below this one. says: its help.
    """

    name: str
    task: ModelTask
    package: str
    says: str

    @property
    def shipped_config(self) -> Path:
        """The file of the shipped configuration."""
        return CONFIGS / f"{self.task}.toml"

    def load(self) -> TaskModule:
        """The model's face."""
        return cast(TaskModule, self.part("run"))

    def part(self, name: str) -> ModuleType:
        """The model's module of one of `PARTS`: its own, else that which its siblings share."""
        if name not in PARTS:
            raise ValueError(f"a model has no {name}; it has {', '.join(PARTS)}")
        folder = self.package
        while folder:
            found = f"{_MODELS}.{folder}.{name}"
            if importlib.util.find_spec(found) is not None:
                return importlib.import_module(found)
            folder = folder.rpartition(".")[0]
        raise ModuleNotFoundError(f"{_MODELS}.{self.package} has no {name}", name=name)


_MODELS = __name__.rpartition(".")[0]

TASKS: tuple[Task, ...] = (
    Task("cell-finder", "cell_finder", "finder", "finds red cells, white cells, platelets"),
    Task(
        "nucleated",
        "nucleated",
        "classifiers.nucleated",
        "names nucleated cells and platelets",
    ),
    Task(
        "morphology",
        "morphology",
        "classifiers.morphology",
        "names the types of red cells",
    ),
    Task(
        "field-estimator",
        "field_estimator",
        "field_estimator",
        "reads what tiles hold of haemoglobin, volume and red cells",
    ),
    Task(
        "anaemia-screen",
        "anaemia_screen",
        "anaemia_screen",
        "calls fields anaemia-like or not",
    ),
)
BY_NAME: Mapping[str, Task] = {task.name: task for task in TASKS}
BY_TASK: Mapping[str, Task] = {task.task: task for task in TASKS}


def subject_of(path: Path, checkpoint: Checkpoint) -> ExportSubject:
    """The model in a checkpoint, as the exporter takes it.

    Raises UsageError for a task that this version does not know, and for a checkpoint whose content
    is not what its task needs. path: its file, named in that.
    """
    if checkpoint.task not in BY_TASK:
        raise UsageError(f"{path.name}: this version exports no {checkpoint.task}")
    try:
        return BY_TASK[checkpoint.task].load().export_subject(checkpoint)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise UsageError(
            f"{path.name}: is not a whole checkpoint of {checkpoint.task} ({lines[0].strip()}); "
            "train it again with this version"
        ) from error
