"""Model cards, written from the run's own record."""

from __future__ import annotations

import json

from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.evaluation.card_parts import lineage, split_lines, split_of, tried


def card(checkpoint: Checkpoint) -> str:
    """The cell finder's card as Markdown: data, split, metrics with intervals, limits."""
    record = checkpoint.record
    configuration = record["configuration"]
    lines = [
        "# Cell finder",
        "",
        "Finds red cells, white cells and platelets in canonical fields (0.25 um/px). A compact "
        "fully convolutional centre-point detector, output stride 4.",
        "",
        "Research and screening aid; not a diagnosis.",
        "",
        "## Made by",
        "",
        "    edgehemo train cell-finder --data DATA --out cell_finder.safetensors --config FILE "
        "[--init EARLIER]",
        "    edgehemo evaluate cell_finder.safetensors --data DATA --save [--left-out RUN]",
        "",
        "FILE holds the configuration below; EARLIER is the checkpoint of the line above it, of "
        "whose weights `initial_share` remains.",
        "",
        *lineage(record, checkpoint.task),
        "",
        f"edgehemo {record['run']['software_version']}, torch {record['run']['torch']}, "
        f"seed {configuration['loop']['seed']}. Configuration:",
        "",
        "    " + json.dumps(configuration, sort_keys=True),
        "",
        "## Data",
        "",
    ]
    lines += [f"- {item}" for item in record["training_data"]]
    counts = ", ".join(f"{source} {count}" for source, count in record["images"].items())
    lines += [
        "",
        f"Training images: {counts}. Split `{split_of(record)}`: by slide, or by block of "
        "neighbouring file numbers where the slide is not known; the tune part set thresholds "
        "and score calibration, the test part below was kept out of both. BCCD's training "
        "images bear, beside the published boxes, those of ours (`edgehemo_export/data/relabels`).",
        "",
        *(line for said in split_lines(record) for line in (said, "")),
        "## Kept-out test part",
        "",
        "Scale estimated from the image as on the device; intervals are 95 % bootstrap over "
        "images. BCCD lacks boxes for many red cells in clumps and at borders, so its red-cell "
        "figures as published understate precision and overstate counts; `bccd, relabelled` are "
        "the same fields with the boxes that a model-assisted pass added. The proposals came from "
        "an earlier checkpoint of this finder and were looked through picture by picture, so that "
        "a cell which it and the labellers both missed is missing there too. A source marked as "
        "left out was measured, all its images, with a finder that was never trained on it: an "
        "earlier stage of this one, or one trained for that figure alone. The boxes of Chula "
        "RBC-12 were drawn by the first stage of this finder at the published points: precision "
        "there says that the right cells are found, not how well their boxes fit. Of Raabin's "
        "platelets hardly one is labelled: its figure for them says nothing.",
        "",
        "AneRBC's masks do not tell touching cells apart: outlines that are plainly one cell are "
        "asked for, and findings on those and on bare background are judged. Most of what is found "
        "on bare background are cells that the masks leave out. How many platelets there are to a "
        "red cell is held against the analyser of the same patient.",
        "",
        "| source | metric | value | 95 % interval | images |",
        "|---|---|---|---|---|",
    ]
    for metric in record.get("metrics", []):
        bounds = "" if metric["low"] is None else f"{metric['low']:.3f} to {metric['high']:.3f}"
        lines.append(
            f"| {metric['source']} | {metric['name']} | {metric['value']:.3f} | {bounds} "
            f"| {metric['images']} |"
        )
    lines += [
        "",
        *tried(record, "Seen and tried"),
        "## Never tested on",
        "",
        "Thick films, bone marrow, animal blood, stains other than Romanowsky type, malaria "
        "parasites, fields out of focus beyond what quality accepts. Fields outside the training "
        "envelope in the bundle's manifest are to be refused.",
        "",
    ]
    return "\n".join(lines)
