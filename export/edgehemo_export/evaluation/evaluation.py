"""What an evaluation of a model comes to, whatever the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgehemo.bundle.manifest import Metric


@dataclass(frozen=True)
class Evaluation:
    """What a model reached on kept-out data.

    metrics: each with its source and interval. tables: JSON values for the record (confusion
    matrices, reliability). pictures: PNG by name, for the model card. sheets: PNG by name that show
    the evaluated data itself; they are looked at and never stored beside a checkpoint, for others
    own what is on them.
    """

    metrics: list[Metric]
    tables: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    sheets: dict[str, bytes] = field(default_factory=dict)
