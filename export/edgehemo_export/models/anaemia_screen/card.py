"""The anaemia screen's model card."""

from __future__ import annotations

from edgehemo.estimate.anaemia_screen import NOTE, UNCERTAIN_HIGH, UNCERTAIN_LOW
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.smears import ANAEMIA_BELOW_G_PER_L, CONTROL_FROM_G_PER_L
from edgehemo_export.evaluation.card_parts import (
    INTENDED_USE,
    data_section,
    made_by,
    metrics_table,
    never_tested,
    pictures,
    section,
    tried,
)
from edgehemo_export.models.anaemia_screen.data import ANAEMIA_NORMAL_SHARE, CONTROL_NORMAL_SHARE


def card(checkpoint: Checkpoint) -> str:
    """As Markdown, from the checkpoint's record alone."""
    record = checkpoint.record
    lines = [
        "# Anaemia screen",
        "",
        "A linear layer on the 512 features that the field estimator reads from canonical tiles of "
        "224 px (0.25 um/px): how much the fields of a sample look like those of anaemic samples. "
        "The estimator's weights are not touched, and one graph answers for both, so that the "
        "screen beside it takes no time. The log odds of a sample's "
        "fields are averaged and turned into a probability by a line fitted on the tune part; "
        f"between {UNCERTAIN_LOW} and {UNCERTAIN_HIGH} the sample is called neither. It is a "
        f"{NOTE}.",
        "",
        INTENDED_USE,
        "",
        *made_by(
            "edgehemo train anaemia-screen --data DATA --init field_estimator.safetensors "
            "--out anaemia_screen.safetensors",
            "edgehemo train anaemia-screen --data DATA --init field_estimator.safetensors "
            "--out without_SOURCE.safetensors --leave-out SOURCE",
            "edgehemo evaluate anaemia_screen.safetensors --data DATA "
            "--left-out without_SOURCE.safetensors --save",
        ),
        f"edgehemo {record['run']['software_version']}, torch {record['run']['torch']}, "
        f"{record['steps']} steps, {record['seconds'] / 60:.0f} minutes on one shared core, the "
        "field estimator's weights kept.",
        "",
        *data_section(record),
        *section(
            "What the classes are",
            "- AneRBC: anaemic against healthy by the analyser (eight pictures, seven people).\n"
            "- Chula: fields by diagnosis (elliptocytosis, spherocytosis, iron deficiency, "
            "megaloblastic, thalassemia) and RBC-12 fields of which at most "
            f"{ANAEMIA_NORMAL_SHARE:.0%} of the labelled cells are normal, against RBC-12 fields "
            f"with at least {CONTROL_NORMAL_SHARE:.0%}. **No haemoglobin stands behind these.**\n"
            "- Uganda: sickle against clear, phone pictures.\n"
            f"- Simulated: haemoglobin below {ANAEMIA_BELOW_G_PER_L:.0f} g/L against "
            f"{CONTROL_FROM_G_PER_L:.0f} g/L and more.",
            "Each source holds both classes, and each is drawn in equal parts of both, so that the "
            "source alone wins nothing; within a source the classes may still differ in slide, day "
            "or stain. Stain, light, sharpness and file format were varied widely in training. "
            "What the classes have in common is little: abnormal shapes in one set, pale or few "
            "cells in another.",
        ),
        *section(
            "Kept-out figures",
            "By source. A sample is a patient in AneRBC, a slide in the simulation and elsewhere a "
            "block of neighbouring pictures, for want of better. Intervals: exact for shares, "
            "bootstrap over samples for AUROC. Sources marked as left out of training were "
            "measured with a head that never saw them: that is what a new microscope may expect. "
            "The estimator below it saw pictures of Chula and Uganda without being told which were "
            "anaemic.",
            metrics_table(record.get("metrics", [])),
            pictures(
                record.get("pictures", []),
                dict.fromkeys(
                    record.get("pictures", []),
                    "Grad-CAM of simulated tiles: what speaks for either class",
                ),
            ),
        ),
        *tried(record, "Seen and tried"),
        *never_tested(
            "any sample with both a smear and a haemoglobin beyond AneRBC's eight pictures",
            "anaemia without a change in the cells' look, as after a fresh bleeding",
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"
