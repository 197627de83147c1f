"""What 20, 50 and 100 own cells a class bring on a microscope that no training has seen.

    python benchmarks/few_own_cells.py WITHOUT_BCCD.safetensors --data DATA --out FILE.json

The checkpoint is one of `edgehemo train nucleated --leave-out bccd --steps 450`: BCCD's white cells
with their published types stand for a laboratory's own. Its blocks of ten neighbouring pictures are
halved; of one half so many cells a class are drawn, and the last layer is fitted on them as
`edgehemo train nucleated --init` does with own cells alone; the other half is what is measured on,
then the halves change places. All of it is repeated with other halves and other cells. Of a class
that has fewer cells in a half all are taken: of BCCD's eosinophils some 33, lymphocytes 15,
monocytes 8, basophils none or one; neutrophils alone come to 50 and more.

Figures: how many of the likeliest types are right; at each coverage asked of the rule how many
cells are named (not `uncertain`), and how many of those rightly; healthy cells that were named a
blast, an erythroblast or an immature granulocyte. Each cell is measured once a repetition; means
over repetitions, with 95 % intervals by a bootstrap over blocks. Published types are wrong at
times. ``--views`` keeps what the network sees of the cells, which takes the most time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgehemo.cells.typing import ALARMING_TYPES
from edgehemo.files.atomic import sha256_of_file, write_text_atomically
from edgehemo_export.checkpoints import Checkpoint, load_checkpoint
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.evaluation.statistics import bootstrap_by_group
from edgehemo_export.models.classifiers.checkpoint import (
    classifier_net,
    stored_config,
    stored_familiarity,
    stored_rule,
)
from edgehemo_export.models.classifiers.conformal import conformal_rule, named
from edgehemo_export.models.classifiers.few_cells import fit_on_few
from edgehemo_export.models.classifiers.head_fit import (
    VIEWS_OF_GRAPH,
    Head,
    views_of,
)
from edgehemo_export.models.classifiers.nucleated.data import typed_white_cells
from edgehemo_export.models.classifiers.nucleated.specification import SPEC
from edgehemo_export.models.classifiers.predictions import Predicted, mean_probabilities
from edgehemo_export.models.classifiers.run import familiarity_rule
from edgehemo_export.nets.classifier_nets import ClassifierNet

CELLS_A_CLASS = (20, 50, 100)
COVERAGES = (0.98, 0.95)
REPETITIONS = 2


@dataclass
class Tally:
    """Of each cell, how often it was measured, right, named, named rightly, and named for alarm."""

    groups: NDArray[np.str_]
    measured: NDArray[np.float64]
    right: NDArray[np.float64]
    named: dict[float, NDArray[np.float64]]
    named_right: dict[float, NDArray[np.float64]]
    alarms: dict[float, NDArray[np.float64]]
    learnt_from: list[dict[str, int]]

    @classmethod
    def of(cls, crops: CellCrops, coverages: Sequence[float]) -> Tally:
        n = len(crops)

        def nothing() -> dict[float, NDArray[np.float64]]:
            return {coverage: np.zeros(n) for coverage in coverages}

        return cls(crops.groups, np.zeros(n), np.zeros(n), nothing(), nothing(), nothing(), [])

    def add(
        self,
        which: NDArray[np.bool_],
        answers: Predicted,
        rules: Mapping[float, Any],
        known: Any,
    ) -> None:
        """Cells under a mask with the answers to them."""
        labels, classes = answers.labels, SPEC.classes
        self.measured[which] += 1
        self.right[which] += answers.probabilities.argmax(axis=1) == labels
        alarming = [classes.index(name) for name in ALARMING_TYPES]
        for coverage, rule in rules.items():
            names = named(answers.probabilities, classes, rule, answers.familiarity, known)
            self.named[coverage][which] += names < len(classes)
            self.named_right[coverage][which] += names == labels
            self.alarms[coverage][which] += np.isin(names, alarming)

    def figures(self) -> dict[str, Any]:
        """Means with intervals, by figure."""

        def shares(chosen: NDArray[np.intp]) -> dict[str, float]:
            total = self.measured[chosen].sum()
            found = {"right": self.right[chosen].sum() / total}
            for coverage in self.named:
                count = self.named[coverage][chosen].sum()
                found[f"named {coverage:g}"] = count / total
                right = self.named_right[coverage][chosen].sum()
                found[f"right among named {coverage:g}"] = right / count if count else np.nan
                found[f"alarms {coverage:g}"] = self.alarms[coverage][chosen].sum() / total
            return found

        made = bootstrap_by_group(self.groups.tolist(), shares, rounds=2000)
        return {
            name: {"value": round(f.value, 4), "low": _rounded(f.low), "high": _rounded(f.high)}
            for name, f in made.items()
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def answers_to(net: ClassifierNet, crops: CellCrops, views: NDArray[np.float32]) -> Predicted:
    """The graph's answer to crops whose views are known, as `predictions.predicted_by` gives it."""
    seen = views[list(VIEWS_OF_GRAPH[: net.config.flip_average])]
    probabilities = mean_probabilities(Head.of(net).logits(seen), float(net.temperature))
    assert net.familiarity is not None, "the configuration asks for it"
    with torch.inference_mode():
        each = [net.familiarity(torch.from_numpy(view))[:, 0] for view in seen]
        known = torch.stack(each).mean(dim=0).numpy()
    return Predicted(crops, probabilities.astype(np.float32), known)


def before(checkpoint: Checkpoint, crops: CellCrops, views: NDArray[np.float32]) -> Tally:
    """What the network says of them as it is, with the thresholds it bears."""
    rule = stored_rule(checkpoint)
    tally = Tally.of(crops, (rule.coverage,))
    answers = answers_to(classifier_net(SPEC, checkpoint), crops, views)
    everything = np.ones(len(crops), np.bool_)
    tally.add(everything, answers, {rule.coverage: rule}, stored_familiarity(checkpoint))
    return tally


def after(
    checkpoint: Checkpoint, crops: CellCrops, views: NDArray[np.float32], cells: int
) -> Tally:
    """What it says once its last layer was fitted on so many cells a class of other pictures."""
    tally = Tally.of(crops, COVERAGES)
    config = stored_config(checkpoint)
    blocks = sorted(set(crops.groups.tolist()))
    for repetition in range(REPETITIONS):
        rng = np.random.default_rng(repetition)
        half = np.isin(crops.groups, rng.permutation(blocks)[: len(blocks) // 2])
        for learnt in (half, ~half):
            chosen = np.zeros(len(crops), np.bool_)
            for label in sorted(set(crops.labels.tolist())):
                own = np.flatnonzero(learnt & (crops.labels == label))
                chosen[rng.permutation(own)[:cells]] = True
            few = crops.where(chosen)
            run = fit_on_few(SPEC, few, config, checkpoint, views=views[:, chosen])
            rules = {
                coverage: conformal_rule(
                    run.answers.probabilities, few.labels, SPEC.classes, coverage
                )
                for coverage in COVERAGES
            }
            answers = answers_to(run.net, crops.where(~learnt), views[:, ~learnt])
            tally.add(~learnt, answers, rules, familiarity_rule(run.answers))
            tally.learnt_from.append(
                {name: int(n) for by in few.counts().values() for name, n in by.items()}
            )
            print(f"{cells} a class, repetition {repetition + 1}: {len(few)} cells", flush=True)
    return tally


def main(arguments: argparse.Namespace) -> None:
    """Measure and write the figures."""
    torch.set_num_threads(1)
    started = time.monotonic()
    checkpoint = load_checkpoint(arguments.checkpoint)
    if checkpoint.record.get("left_out") != "bccd":
        raise SystemExit("the checkpoint has to be one of --leave-out bccd")
    config = stored_config(checkpoint)
    net = classifier_net(SPEC, checkpoint)
    crops = typed_white_cells(arguments.data, config.crop, arguments.cache)
    crops = replace(crops, files=(), keys=())
    if arguments.views is not None and arguments.views.is_file():
        views = np.load(arguments.views)
    else:
        views = views_of(net, crops.middle(config.crop.side_px))
        if arguments.views is not None:
            np.save(arguments.views, views)
    rows = {"before": before(checkpoint, crops, views)}
    rows |= {f"{cells} a class": after(checkpoint, crops, views, cells) for cells in CELLS_A_CLASS}
    counts = {name: int(n) for by in crops.counts().values() for name, n in by.items()}
    document = {
        "what": "few own cells: BCCD's white cells, a source the network never saw",
        "checkpoint": {
            "sha256": sha256_of_file(arguments.checkpoint),
            "made_by": "edgehemo train nucleated --leave-out bccd --steps 450",
        },
        "cells": counts,
        "blocks": len(set(crops.groups.tolist())),
        "repetitions": REPETITIONS,
        "rows": {
            name: {"figures": tally.figures(), "learnt_from": tally.learnt_from}
            for name, tally in rows.items()
        },
        "minutes": round((time.monotonic() - started) / 60, 1),
    }
    write_text_atomically(arguments.out, json.dumps(document, indent=1) + "\n")
    for name, tally in rows.items():
        print(name, {key: row["value"] for key, row in tally.figures().items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What few own cells a class bring.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="Folder that keeps the crops.")
    parser.add_argument("--views", type=Path, help="File (.npy) that keeps the views.")
    main(parser.parse_args())
