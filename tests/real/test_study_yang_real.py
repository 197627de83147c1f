"""The study of Yang et al. on the real blood counts and the eight real pairs of AneRBC."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the [host] extra")

from edgehemo.simulation.panels import read_panels
from edgehemo_export.studies.registry import STUDIES
from edgehemo_export.studies.run import read_study_configuration
from edgehemo_export.studies.yang.pairs import paired_source
from edgehemo_export.studies.yang.patients import STORED_UM_PER_PX
from edgehemo_export.studies.yang.simulated import patients_by_laboratory
from edgehemo_export.studies.yang.sources import find_data

pytestmark = [pytest.mark.real, pytest.mark.host]


def test_the_real_set_gives_counts_to_draw_from_and_seven_patients_to_try(data_root: Path) -> None:
    found = find_data(data_root)
    assert found.simulated
    assert found.panels is not None
    (pairs,) = found.external
    assert len(pairs.samples) == 8
    # 001_h and 004_h carry one blood count.
    assert pairs.patients == 7
    by_name = {sample.name: sample.group for sample in pairs.samples}
    assert by_name["001_h"] == by_name["004_h"]
    study = STUDIES["yang"].load()
    for quick in (False, True):
        config = read_study_configuration(study, quick=quick)
        laboratories = patients_by_laboratory(
            read_panels(found.panels),
            config.simulated,
        )
        assert len(laboratories) == 3


def test_a_real_pair_is_read_at_the_scale_of_its_set(data_root: Path) -> None:
    (pairs,) = find_data(data_root).external
    sample = pairs.samples[0]
    source = paired_source(
        "AneRBC",
        [sample],
        picture_um_per_px=0.0,
        keep_refused=True,
        cache=None,
        tell=lambda says: None,
    )
    (patient,) = source.patients
    (field,) = patient.fields
    # 465 um across.
    assert field.codes.shape[1] == pytest.approx(465.0 / STORED_UM_PER_PX, abs=3)
    assert 0.05 < field.indices.cell_cover < 0.6
