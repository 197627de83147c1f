"""What the trials of a study answered, put together by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.studies.remya.cohorts import Cohort, StudyPicture
from edgehemo_export.studies.remya.configuration import RemyaConfiguration, Shows
from edgehemo_export.studies.remya.networks import Begun, title_of
from edgehemo_export.studies.remya.screening import Screened
from edgehemo_export.studies.remya.trial import Asked, Material, outsiders, pictures_of


@dataclass(frozen=True)
class Run:
    """A trial and its stored answer (see `trial.trial`)."""

    asked: Asked
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Answers:
    """Answers to pictures of one part, of one run or several: scores for anaemia-like (n,), labels
    (n,), each picture and the seed of its run.
    """

    scores: NDArray[np.float64]
    truth: NDArray[np.intp]
    pictures: Sequence[StudyPicture]
    seeds: NDArray[np.intp]

    @property
    def groups(self) -> list[str]:
        """The group of each picture."""
        return [picture.group for picture in self.pictures]

    @property
    def both(self) -> bool:
        """Whether both classes are there."""
        return len(set(self.truth.tolist())) > 1

    def of_seed(self, seed: int) -> Answers:
        """Those of one run."""
        own = np.flatnonzero(self.seeds == seed)
        return self.at(own)

    def at(self, places: NDArray[np.intp]) -> Answers:
        """Some of them."""
        return Answers(
            self.scores[places],
            self.truth[places],
            [self.pictures[place] for place in places],
            self.seeds[places],
        )


@dataclass(frozen=True)
class Found:
    """Everything a study found. starts: by arm. skipped: arms whose cohort the data lack."""

    root: Path
    config: RemyaConfiguration
    cohorts: Mapping[str, Cohort]
    screens: Mapping[str, Screened]
    material: Material
    runs: Mapping[str, Sequence[Run]]
    starts: Mapping[str, Begun]
    skipped: Sequence[str]

    def arms(self, shows: Shows, cohort: str | None = None) -> list[str]:
        """Names of the arms that were trained for something, in their order."""
        return [
            name
            for name, runs in self.runs.items()
            if runs[0].asked.config.shows == shows
            and (cohort is None or runs[0].asked.config.cohort == cohort)
        ]

    def first(self, cohort: str) -> str | None:
        """The arm that others of its cohort are compared with: the first under the protocol."""
        return next(iter(self.arms("protocol", cohort)), None)

    def title(self, arm: str) -> str:
        """An arm's network by its name."""
        return title_of(self.runs[arm][0].asked.config.network)

    def held_out(self, arm: str, *, balanced: bool) -> Answers:
        """Answers to the held-out pictures of all runs of an arm; balanced: where both classes are
        made equal, as the paper measures.
        """
        return _joined([self._held_out(run, balanced) for run in self.runs[arm]])

    def _held_out(self, run: Run, balanced: bool) -> Answers:
        pictures = pictures_of(run.asked.config, self.material)
        test = [pictures[place] for place in run.answer["split"]["test"]]
        whole = _answers(run.answer["test"], test, run.asked.seed)
        if not balanced:
            return whole
        return whole.at(np.flatnonzero(np.array(run.answer["balanced"], bool)))

    def abroad(self, arm: str, role: str) -> Answers | None:
        """Answers to pictures of another role; None where there are none."""
        found = []
        for run in self.runs[arm]:
            if role in run.answer["external"]:
                others = outsiders(run.asked.config, self.material)[role]
                found.append(_answers(run.answer["external"][role], others, run.asked.seed))
        return _joined(found) if found else None


def _answers(scores: Sequence[float], pictures: Sequence[StudyPicture], seed: int) -> Answers:
    return Answers(
        np.asarray(scores, np.float64),
        np.array([picture.label for picture in pictures], np.intp),
        list(pictures),
        np.full(len(pictures), seed, np.intp),
    )


def _joined(parts: Sequence[Answers]) -> Answers:
    return Answers(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.truth for part in parts]),
        [picture for part in parts for picture in part.pictures],
        np.concatenate([part.seeds for part in parts]),
    )
