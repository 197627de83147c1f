"""Measures and tables, gathered while the page is put together."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgehemo_export.studies.remya.measures import MEASURES, confusion, measured, with_intervals
from edgehemo_export.studies.remya.results import Answers, Found
from edgehemo_export.studies.study import Measure


class Tally:
    """Measures and tables, gathered while the page is put together."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.measures: list[Measure] = []
        self.tables: dict[str, Any] = {}
        self._known: dict[tuple[str, str], dict[str, Measure]] = {}

    def of(self, arm: str, on: str, answers: Answers, *, listed: bool = True) -> dict[str, Measure]:
        """Every measure of an arm on a part of the data, by name. listed: it goes among the
        study's figures, once.
        """
        if (arm, on) in self._known:
            return self._known[arm, on]
        intervals = with_intervals(
            answers.truth, answers.scores, answers.groups, self.found.config.bootstrap_rounds
        )
        by_seed = {
            int(seed): measured((own := answers.of_seed(int(seed))).truth, own.scores)
            for seed in dict.fromkeys(answers.seeds.tolist())
        }
        made = {
            name: Measure.of_seeds(
                name,
                {seed: values[name] for seed, values in by_seed.items()},
                of=arm,
                on=on,
                n=len({picture.key for picture in answers.pictures}),
                figure=intervals[name],
            )
            for name in MEASURES
            if np.isfinite(intervals[name].value)
        }
        self._known[arm, on] = made
        if not listed:
            return made
        self.measures += made.values()
        self.tables.setdefault("confusion", {})[f"{arm} | {on}"] = confusion(
            answers.truth, answers.scores
        ).tolist()
        return made

    def held_out(self, arm: str) -> dict[str, Measure]:
        """On the held-out part, classes made equal as in the paper; on all folds as they are."""
        folds = self.found.runs[arm][0].asked.config.split == "folds"
        answers = self.found.held_out(arm, balanced=not folds)
        return self.of(arm, self.part(arm), answers)

    def part(self, arm: str) -> str:
        """What the held-out part of an arm is called."""
        config = self.found.runs[arm][0].asked.config
        name = self.found.cohorts[config.cohort].name
        if config.split == "folds":
            return f"{name}, every picture held out once in {self.found.config.split.folds} folds"
        kind = "picture by picture" if config.split == "image" else "whole groups"
        return f"{name}, held out ({kind}), classes equal"
