"""The sections of the study's page, in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from edgehemo.measurands import MEASURAND_FACTS
from edgehemo_export.studies.study import Block, Section, StudyFigure
from edgehemo_export.studies.yang import drawings, page_parts
from edgehemo_export.studies.yang.analysis import LINE_NAMES, Analysis
from edgehemo_export.studies.yang.density import MARGIN
from edgehemo_export.studies.yang.folding import NETWORK, SeedAnswers, Tables
from edgehemo_export.studies.yang.patients import Place, Row, Source


def fields_section(tables: Tables, simulated: bool, labels: Mapping[str, str]) -> list[Section]:
    """A field of one patient at each density there is, and one of each further source."""
    rows = list(tables.internal)
    by_place = {row.field.place: row for row in rows if row.patient == rows[0].patient}
    shown = [by_place[place] for place in get_args(Place) if place in by_place]
    outside = [asked[0] for asked in tables.external.values() if asked]
    every = [*shown, *outside][:6]
    captions = [f"{labels[row.source]}\n{_caption(row)}" for row in every]
    title = drawings.tagged("fields as the network sees them", simulated)
    figure = drawings.pictures_figure(every, captions, title)
    return [
        Section(
            drawings.tagged("What is learnt from", simulated),
            [
                StudyFigure(
                    "fields",
                    figure,
                    f"{title}: transmittance, background 1. The first ones are one patient's.",
                )
            ],
        )
    ]


def _caption(row: Row) -> str:
    """What a field in the row of examples is: of drawn ones the place, and the haemoglobin."""
    place = f"{row.field.place}, " if row.field.drawn is not None else "real, "
    measurand = next(iter(row.values))
    facts = MEASURAND_FACTS[measurand]
    return f"{place}{facts.name} {facts.with_unit(row.values[measurand])}"


def internal_sections(
    analysis: Analysis, by_seed: Mapping[int, SeedAnswers], simulated: bool
) -> list[Section]:
    """The network beside the comparators, agreement, error by concentration, density."""
    own = analysis.internal

    def tag(title: str) -> str:
        return drawings.tagged(title, simulated)

    methods: list[Block] = [
        "By patient: the mean over the usual fields; each patient is answered by a network that "
        "saw no field of theirs. `single fields`: every usual field by itself: the paper, too, "
        "reads single pictures.",
        *(page_parts.methods_table(each, measurand) for measurand, each in own.items()),
        page_parts.methods_text(analysis),
        *_seeds_blocks(analysis),
        StudyFigure(
            "scatter",
            drawings.scatter(own, tag("network and analyser, by patient")),
            tag("answer of the network over the analyser's value, a patient a dot"),
        ),
        StudyFigure(
            "losses",
            drawings.losses_figure(
                {seed: each.losses for seed, each in by_seed.items()}, tag("training, each fold")
            ),
            tag("loss of training in each fold; nothing was chosen by it"),
        ),
    ]
    sections = [
        Section(tag("HGB, HCT and RBC in folds by patient"), methods),
        Section(
            tag("Agreement (Bland-Altman)"),
            [
                page_parts.agreement_table(own),
                StudyFigure(
                    "bland-altman",
                    drawings.bland_altman_figure(own, tag("Bland-Altman, by patient")),
                    tag("difference over mean, with bias, limits of agreement and intervals"),
                ),
            ],
        ),
        Section(
            tag("Error by concentration"),
            [
                page_parts.bands_table(own),
                StudyFigure(
                    "concentration",
                    drawings.concentration_figure(own, tag("error by concentration")),
                    tag("bias and mean absolute error by band, 95 % intervals"),
                ),
            ],
        ),
    ]
    if all(NETWORK in each.density for each in own.values()):
        sections.append(_density_section(analysis, simulated))
    return sections


def _seeds_blocks(analysis: Analysis) -> list[Block]:
    """Whole seeds one by one, and the folds that were trained again."""
    blocks: list[Block] = [
        "Whole seeds one by one (first weights, batches and folds): "
        + " ".join(
            page_parts.seeds_text(each, measurand) for measurand, each in analysis.internal.items()
        )
    ]
    if all(len(answers.by_seed) > 1 for answers in analysis.repeated.values()):
        blocks.append(page_parts.repeats_table(analysis))
    return blocks


def _density_section(analysis: Analysis, simulated: bool) -> Section:
    def tag(title: str) -> str:
        return drawings.tagged(title, simulated)

    own = analysis.internal
    return Section(
        tag("Does the density of a field matter?"),
        [
            "The paper's claim as a test. Within a patient the analyser's value is one, so thin "
            "and thick fields should be answered alike. Elasticity: the change of the answer, as a "
            "share of the patient's value, where a field is e times as densely covered; 0 is the "
            "claim, 1 an answer that only counts. H0, elasticity 0: densities exchanged within "
            "patients, p adjusted by Holm. `does not matter` is equivalence, not a p that is "
            f"large: the 90 % interval of the change lies within {100 * MARGIN:.0f} % (what CLIA "
            "2025 lets an analyser err by). `matters`: p below 0.05 and a change beyond that.",
            page_parts.density_table(own),
            StudyFigure(
                "density",
                drawings.density_figure(analysis, tag("answer and density, within patients")),
                tag(
                    "a field a dot; line: elasticity; dotted: an answer that only counts; band: "
                    "the margin"
                ),
            ),
            StudyFigure(
                "density-thirds",
                drawings.thirds_figure(
                    {measurand: each.density[NETWORK] for measurand, each in own.items()},
                    tag("error of single fields by density"),
                ),
                tag("bias and mean absolute error of single fields by third of density"),
            ),
        ],
    )


def external_sections(analysis: Analysis, sources: Sequence[Source]) -> list[Section]:
    """One for each further source; the sources, the internal one first."""
    found = []
    for number, source in enumerate(sources[1:], 1):
        if not analysis.external.get(source.name):
            continue
        simulated = source.simulated
        title = drawings.tagged(f"{source.name}, external", simulated)
        kind = (
            "Another stain, optics, camera and other patients, all drawn."
            if simulated
            else "Real pictures with an analyser's values. With so few patients these are a "
            "demonstration of the procedure and no accuracy of anything."
        )
        found.append(
            Section(
                title,
                [
                    f"{kind} The networks of all folds answer, their mean counts: as it is "
                    f"(`{NETWORK}`), and through the line of few pairs that the other patients of "
                    f"this source give (`{LINE_NAMES[NETWORK]}`), as a laboratory would calibrate "
                    "its microscope. What such a line makes of one physical index, and of the mean "
                    "alone, stands beside it.",
                    page_parts.external_table(analysis, source.name),
                    StudyFigure(
                        f"external-{number}",
                        drawings.external_figure(
                            analysis, source.name, (NETWORK, LINE_NAMES[NETWORK]), title
                        ),
                        f"{title}: answers over the analyser's values, raw and through its line",
                    ),
                ],
            )
        )
    return found
