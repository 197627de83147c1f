"""Red cells of a source left out of training whole: names that their own outline contradicts.

    python benchmarks/red_cells_abroad.py WITHOUT_SOURCE.safetensors [--sheet FILE.png]
                                          [--worst 20]

The checkpoint is one of `edgehemo train morphology --leave-out SOURCE`. Isolated cells of the
source bear no types, but their outline tells whether they are long or round, and so which types
they cannot be. Names are given as on the device, once by the network and its rules alone, once with
the outline having its say (`edgehemo.cells.shapes`). Shares have 95 % intervals (Wilson).
``--sheet`` draws the contradicted names of the network alone, the surest first, to be looked at.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import real_fields
from white_cells_abroad import Named, share, sheet

from edgehemo.cells.cell import UNCERTAIN
from edgehemo.cells.shapes import allows
from edgehemo.cells.typing import CellClassifier
from edgehemo.files.atomic import sha256_of_file
from edgehemo_export.checkpoints import load_checkpoint
from edgehemo_export.models.classifiers.checkpoint import classifier_net, stored_config
from edgehemo_export.models.classifiers.export import classifier_subject
from edgehemo_export.models.classifiers.morphology.by_outline import is_judged_long
from edgehemo_export.models.classifiers.morphology.isolated_cells import (
    LONG_TYPES,
    ROUND_TYPES,
    is_round,
    isolated_cells,
)
from edgehemo_export.models.classifiers.morphology.specification import SPEC
from edgehemo_export.nets.torch_runner import TorchRunner

SHAPES = (("long", is_judged_long, LONG_TYPES), ("round", is_round, ROUND_TYPES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--worst", type=int, default=20)
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    source = checkpoint.record.get("left_out")
    if source is None:
        parser.error(f"{options.checkpoint}: no source was left out of its training")
    entry = classifier_subject(SPEC, checkpoint).entry([], sha256_of_file(options.checkpoint))
    model = CellClassifier(TorchRunner(classifier_net(SPEC, checkpoint)), entry)
    crop = stored_config(checkpoint).crop
    cells = isolated_cells(
        real_fields.data_root(), crop, None, lambda picture: picture.source == source
    )
    codes = np.ascontiguousarray(cells.crops.middle(crop.side_px))
    naming = model.named(model.answers(codes))
    print(f"{source}, left out whole: {len(cells)} isolated red cells")
    wrong: list[Named] = []
    for label, of_shape, types in SHAPES:
        which = [index for index, outline in enumerate(cells.outlines) if of_shape(outline)]
        alone = [naming.names[index] for index in which]
        held = [
            name if allows(name, cells.outlines[index]) else UNCERTAIN
            for index, name in zip(which, alone, strict=True)
        ]
        for way, names in (("network alone", alone), ("outline too", held)):
            named = [name for name in names if name != UNCERTAIN]
            right = sum(name in types for name in named)
            of = share(right, len(named)) if named else "-"
            print(f"  {label:5} {way:13} named {share(len(named), len(names))}, can be {of}")
            errors = Counter(name for name in named if name not in types)
            print("        " + ", ".join(f"{n} {name}" for name, n in errors.most_common()))
        wrong += [
            Named(
                truth=label,
                before=naming.names[index],
                after=naming.names[index],
                matched=False,
                familiarity=0.0 if naming.familiarity is None else naming.familiarity[index],
                score=float(naming.scores[index]),
                crop=codes[index],
                picture=str(cells.crops.names[index]),
            )
            for index in which
            if naming.names[index] not in (UNCERTAIN, *types)
        ]
    if options.sheet is not None:
        worst = sorted(wrong, key=lambda cell: -cell.score)[: options.worst]
        cv2.imwrite(str(options.sheet), sheet(worst)[..., ::-1])


if __name__ == "__main__":
    main()
