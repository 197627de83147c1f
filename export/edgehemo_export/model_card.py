"""Model cards, written from the run's own record."""

from __future__ import annotations

from edgehemo_export.checkpoints import Checkpoint


def finder_card(checkpoint: Checkpoint) -> str:
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
        "    edgehemo train cell-finder --data DATA --out cell_finder.safetensors",
        "    edgehemo evaluate cell_finder.safetensors --data DATA --save",
        "",
        f"edgehemo {record['run']['software_version']}, torch {record['run']['torch']}, "
        f"{record['steps']} steps of {configuration['batch_size']} crops, "
        f"{record['seconds'] / 60:.0f} minutes, seed {configuration['seed']}.",
        "",
        "## Data",
        "",
    ]
    lines += [f"- {item}" for item in record["training_data"]]
    counts = ", ".join(f"{source} {count}" for source, count in record["images"].items())
    lines += [
        "",
        f"Training images: {counts}. Split `{record['split']}`: by slide, or by block of "
        "neighbouring file numbers where the slide is not known; the tune part set thresholds "
        "and score calibration, the test part below was kept out of both.",
        "",
        "## Kept-out test part",
        "",
        "Scale estimated from the image as on the device; intervals are 95 % bootstrap over "
        "images. BCCD lacks boxes for many red cells in clumps and at borders, so its red-cell "
        "figures understate precision and overstate counts.",
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
        "## Never tested on",
        "",
        "Thick films, bone marrow, animal blood, stains other than Romanowsky type, malaria "
        "parasites, fields out of focus beyond what quality accepts. Fields outside the training "
        "envelope in the bundle's manifest are to be refused.",
        "",
    ]
    return "\n".join(lines)
