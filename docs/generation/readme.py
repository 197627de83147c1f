"""The README's table of figures, between its two marks: written from the reference figures.

    python -m docs.generation.readme

A test holds that the README is current.
"""

from __future__ import annotations

from pathlib import Path

from docs.generation.figures import filled
from docs.generation.markdown import table
from edgehemo.files.atomic import write_text_atomically
from edgehemo_export.reference.figures import all_figures

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- figures: python -m docs.generation.readme -->", "<!-- end of figures -->"

HEADS = ("what", "kept-out figure", "on what")
ROWS = (
    (
        "red cells found (AP50)",
        "{{ finder_anerbc_rbc .2f }}",
        "AneRBC, a microscope never trained on, cells that stand alone",
    ),
    (
        "",
        "{{ finder_relabelled_rbc .2f }}",
        "BCCD with our own added boxes ({{ finder_bccd_rbc .2f }} as published)",
    ),
    (
        "nucleated cells named rightly",
        "{{ nucleated_pbc_accuracy .3f }} ({{ nucleated_pbc_accuracy.interval .3f }})",
        "PBC; copies are kept apart, not patients",
    ),
    (
        "red-cell types named rightly",
        "{{ morphology_accuracy .3f }} ({{ morphology_accuracy.interval .3f }})",
        "Chula RBC-12, other slides",
    ),
    (
        "HGB error after calibration",
        "{{ pairs_hgb_chosen .1f }} g/L (the mean: {{ pairs_hgb_mean .0f }})",
        "AneRBC, eight pairs: shows the procedure, no claim of accuracy",
    ),
    (
        "anaemia screen (AUROC)",
        "{{ screen_chula_left_out_auroc .2f }}",
        "a source left out of training: it tells little there",
    ),
    (
        "good fields refused",
        "{{ quality_refused_share .0% }} ({{ quality_refused_share.interval .1% }})",
        "{{ quality_fields d }} fields of five public sets",
    ),
    (
        "time of a field (`cells`)",
        "{{ cells_bccd_ms d }} ms",
        "BCCD, one thread of a 2 GHz x86-64; not yet measured on a Pi",
    ),
)


def current(text: str) -> str:
    """The README's text with the table as the figures now are."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README lacks {BEGIN} or {END}")
    return (
        before
        + begin
        + "\n\n"
        + filled(table(HEADS, ROWS), all_figures(), "README.md")
        + "\n"
        + end
        + after
    )


if __name__ == "__main__":
    write_text_atomically(README, current(README.read_text(encoding="utf-8")))
