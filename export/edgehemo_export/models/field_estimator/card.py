"""The field estimator's model card."""

from __future__ import annotations

from edgehemo.simulation.parameters import FIELD_THICKNESS_SD, SAMPLE_THICKNESS_SD
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.simulated.tiles import (
    ESTIMATED_SCALE_SHARE,
    REFERENCE_SHARE,
    REFERENCE_THICKNESS_UM,
)
from edgehemo_export.evaluation.card_parts import (
    INTENDED_USE,
    data_section,
    lineage,
    made_by,
    metrics_table,
    never_tested,
    pictures,
    section,
    tried,
)
from edgehemo_export.models.field_estimator.lines import DRAWN


def card(checkpoint: Checkpoint) -> str:
    """As Markdown, from the checkpoint's record alone."""
    record = checkpoint.record
    episodes = record["configuration"]["episodes"]
    variation = record["configuration"]["variation"]
    lines = [
        "# Field estimator",
        "",
        "ResNet18 (11.2 million parameters) on canonical tiles of 224 px (0.25 um/px, 56 um): what "
        "a tile holds of haemoglobin, red-cell volume and red cells, each with a variance. The "
        f"answers are nominal: the concentrations of blood that a film of {REFERENCE_THICKNESS_UM} "
        "um with the simulated microscope's stain would show so. **They are no g/L of anybody's "
        "blood**: a concentration needs an analyser calibration of the microscope "
        "(`edgehemo calibrate analyser`), which fits a line on them, on a physical index or on "
        "both together, whichever has the smallest leave-one-out error.",
        "",
        INTENDED_USE,
        "",
        *made_by(
            "edgehemo train field-estimator --data DATA --out field_estimator.safetensors "
            "[--config FILE --init EARLIER]",
            "edgehemo evaluate field_estimator.safetensors --data DATA --save",
        ),
        f"edgehemo {record['run']['software_version']}, torch {record['run']['torch']}, "
        f"the last run {record['seconds'] / 60:.0f} minutes on one shared core. Each run begins "
        "with the weights of the one before:",
        "",
        *lineage(record, checkpoint.task),
        "",
        *data_section(record),
        *section(
            "What was simulated",
            f"Fields of the simulated microscope, {REFERENCE_SHARE:.0%} of them by the default "
            "instrument at any thickness, the others by instruments drawn from wide ranges of "
            "stain, lamp, optics, sensor, film and cell shape (`randomised_parameters`). Half of "
            "the blood counts follow AneRBC's, half have a haemoglobin evenly from 31 to 204 g/L. "
            f"{ESTIMATED_SCALE_SHARE:.0%} took their scale from the red cells as a device without "
            "a calibration does. The truth of a tile is what was drawn in it, counted, so cell "
            "density and film thickness are no noise in training.",
            f"Tiles were restained: {episodes['tiles']} of one microscope make an episode, and "
            "between their samples the stain varies by "
            f"{variation['sample_stain_sd']:.0%}. The loss is measured after the factor that fits "
            "an episode best, as a calibration would fit it; on the default instrument without.",
            f"{episodes['real_share']:.0%} of the episodes are real fields of one slide without "
            "any blood count, whose light absorbed, cover and cells found keep the network to "
            "physics. Iron-deficiency fields are asked to show less haemoglobin per volume than "
            "those of spherocytosis. The eight pictures with analyser results took no part.",
        ),
        *section(
            "Kept-out figures",
            "Simulated samples are other slides, 20 fields each through the device's own steps "
            "(scale from the cells, quality checks); each by a line through the other "
            "samples of its microscope. A simulated film differs by "
            f"{SAMPLE_THICKNESS_SD:.0%} between samples and {FIELD_THICKNESS_SD:.0%} between "
            "fields (see `edgehemo/simulation/parameters.py` for where that comes from), which no "
            "picture shows: with the counting error of some 2,000 cells these bound what any "
            f"estimator can reach there. By `{DRAWN}` is that bound: the same line on what the "
            "fields truly hold. **Nothing simulated says how accurate a real instrument is.**",
            "The pairs are eight fields of seven blood counts: a demonstration of the procedure.",
            metrics_table(record.get("metrics", [])),
            pictures(
                record.get("pictures", []),
                {name: _caption(name) for name in record.get("pictures", [])},
            ),
        ),
        *tried(record, "Seen and tried"),
        *never_tested(
            "absolute haemoglobin without a calibration: it cannot be known",
            "smears of more than one microscope under one calibration",
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _caption(name: str) -> str:
    if "gradcam" in name:
        return "Grad-CAM of simulated tiles: where each answer comes from"
    return "Simulated samples: estimated over drawn"
