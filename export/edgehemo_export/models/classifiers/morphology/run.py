"""`edgehemo train morphology` and `edgehemo evaluate`: the types of red cells.

What is its own stands in this folder; the rest is shared by the classifiers, a folder above.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.configuration import CONFIGS, read_configuration
from edgehemo_export.models.classifiers.morphology.card import card
from edgehemo_export.models.classifiers.morphology.evaluation import evaluate
from edgehemo_export.models.classifiers.morphology.export import export_subject
from edgehemo_export.models.classifiers.morphology.specification import SPEC
from edgehemo_export.models.classifiers.run import train_classifier
from edgehemo_export.models.classifiers.training import ClassifierConfig
from edgehemo_export.training.task import Run

__all__ = ["card", "evaluate", "export_subject", "read_config", "run_training"]

DEFAULT_CONFIG = CONFIGS / "morphology.toml"


def read_config(
    path: Path | None = None, changes: Mapping[str, Any] | None = None
) -> ClassifierConfig:
    """The shipped configuration, single keys overridden; see `configuration`."""
    return read_configuration(ClassifierConfig, DEFAULT_CONFIG, path, changes)


def run_training(
    data: Path,
    config: ClassifierConfig,
    work: Path,
    run: Run,
) -> Checkpoint:
    """See `models.registry.TaskModule`."""
    return train_classifier(SPEC, data, config, work, run)
