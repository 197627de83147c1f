"""The field estimator: tiles, networks over fields, pooling, and how it is trained on the host."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.estimate.estimators import BY_NAME
from edgehemo.estimate.network import (
    ANAEMIA_LOG_ODDS,
    ESTIMATOR_OUTPUTS,
    FieldNetwork,
    FieldNetworks,
    log_odds,
)
from edgehemo.estimate.pooling import pool
from edgehemo.estimate.values import FieldIndices
from edgehemo.field.canonical import CLEAR_FIELD_CODE, CanonicalField, canonical_field
from edgehemo.field.tiles import MAX_TILES, TILE_PX, starts, tiles_of_field
from edgehemo.simulation.field import simulate_field
from edgehemo.simulation.panels import CBCPanel

PANEL = CBCPanel.from_indices(hgb_g_per_l=120.0, mcv_fl=88.0, mchc_g_per_l=330.0)


class DarknessRunner:
    """Answers like an estimator whose nominal contents are the tile's mean absorbance."""

    name, version = "darkness", "1"

    def __init__(self) -> None:
        self.tiles = 0

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert codes.shape == (1, TILE_PX, TILE_PX, 3)
        assert codes.dtype == np.uint8
        self.tiles += 1
        dark = CLEAR_FIELD_CODE - float(codes[..., 1].mean())
        return np.array([[dark, 2 * dark, 3 * dark, 1.0, 1.0, 1.0]], np.float32)


def simulated(width: int = 640, height: int = 480) -> CanonicalField:
    made = simulate_field(
        PANEL,
        rng=np.random.default_rng(4),
        width_px=width,
        height_px=height,
        um_per_px=0.25,
    )
    return canonical_field(made.frame, um_per_px=0.25)


def indices(area: float = 1.0, **model: float) -> FieldIndices:
    return FieldIndices(
        cell_cover=0.36,
        cell_od_red=0.1,
        cell_od_green=0.2,
        cell_od_blue=0.2,
        field_od_red=0.05,
        field_od_green=0.08,
        field_od_blue=0.08,
        dark_share=0.25,
        cell_area_um2=44.0,
        cell_area_cv=0.1,
        rbc_per_mm2=None,
        area_mm2=area,
        model=model,
    )


@pytest.mark.parametrize("length", [224, 225, 448, 449, 1000])
def test_tiles_cover_a_side_without_a_gap(length: int) -> None:
    places = starts(length)
    assert places[0] == 0
    assert places[-1] + TILE_PX == length
    assert max(np.diff(places), default=0) <= TILE_PX


def test_tiles_of_a_field_show_the_field() -> None:
    field = simulated()
    tiles = list(tiles_of_field(field))
    assert len(tiles) == len(starts(field.width)) * len(starts(field.height))
    assert all(tile.share == 1.0 for tile in tiles)
    assert np.array_equal(tiles[0].codes[0], field.to_uint8()[:TILE_PX, :TILE_PX])


def test_what_lies_beyond_a_small_field_is_clear() -> None:
    small = simulated(200, 150)
    (tile,) = list(tiles_of_field(replace_valid(small)))
    assert tile.share == pytest.approx(150 * 200 / TILE_PX**2)
    assert (tile.codes[0, 150:] == CLEAR_FIELD_CODE).all()
    assert (tile.codes[0, :, 200:] == CLEAR_FIELD_CODE).all()


def test_a_huge_field_is_read_in_part() -> None:
    field = simulated(320, 240)
    wide = replace(
        field,
        transmittance=np.tile(field.transmittance, (10, 10, 1)),
        valid=np.ones((2400, 3200), np.bool_),
    )
    assert len(list(tiles_of_field(wide))) == MAX_TILES


def replace_valid(field: CanonicalField) -> CanonicalField:
    return replace(field, valid=np.ones_like(field.valid))


def test_the_mask_of_a_field_stop_adds_nothing_to_the_content() -> None:
    """Half a tile masked: the content is said of the half that shows smear."""
    field = simulated(224, 224)
    half = np.ones_like(field.valid)
    half[:, 112:] = False
    mirrored = field.transmittance.copy()
    mirrored[:, 112:] = mirrored[:, 111::-1]
    networks = FieldNetworks(estimator=FieldNetwork(DarknessRunner(), None))
    whole = networks.measure(replace(field, transmittance=mirrored, valid=half | True))
    masked = networks.measure(replace(field, transmittance=mirrored, valid=half))
    assert masked["hgb"] == pytest.approx(whole["hgb"], rel=0.02)


def test_a_network_answers_for_every_tile_and_by_name() -> None:
    runner = DarknessRunner()
    outputs = FieldNetworks(estimator=FieldNetwork(runner, None)).measure(simulated())
    assert set(outputs) == set(ESTIMATOR_OUTPUTS)
    assert runner.tiles == 6 + 3
    assert outputs["hct"] == pytest.approx(2 * outputs["hgb"])


def test_outside_the_training_envelope_there_is_no_number() -> None:
    envelope = {
        "features": [
            "cell_od_red",
            "cell_od_green",
            "cell_od_blue",
            "background_tint",
            "cell_cover",
        ],
        "mean": [5.0, 5.0, 5.0, 0.0, 0.9],
        "precision": (np.eye(5) * 100).tolist(),
        "warn_above": 3.0,
        "fail_above": 4.5,
    }
    runner = DarknessRunner()
    networks = FieldNetworks(estimator=FieldNetwork(runner, envelope))
    assert networks.measure(simulated()) == {}
    assert runner.tiles == 0


def test_log_odds_are_bounded() -> None:
    assert log_odds(0.5) == pytest.approx(0.0)
    assert log_odds(1.0) == -log_odds(0.0) <= 8.0


def test_outputs_are_pooled_by_area_over_the_fields_that_have_them() -> None:
    sample = pool([indices(1.0, hgb=100.0), indices(3.0, hgb=140.0), indices(1.0)])
    assert sample.model["hgb"] == pytest.approx(130.0)


def test_a_minority_of_the_area_does_not_speak_for_the_sample() -> None:
    assert pool([indices(1.0, hgb=100.0), indices(3.0)]).model == {}


def test_the_networks_estimators_take_its_outputs() -> None:
    fields = indices(hgb=100.0, hct=0.36, rbc=4.0)
    assert BY_NAME["network-hgb"].values(fields) == (100.0,)
    assert BY_NAME["network-rbc"].values(fields) == (4.0,)
    assert BY_NAME["network-and-dark-share"].values(fields) == pytest.approx((5.0,))
    joined = BY_NAME["network-and-absorbance"].values(fields)
    assert joined == pytest.approx((math.sqrt(100.0 * 0.08),))
    assert BY_NAME["network-and-cover"].values(fields) == pytest.approx((0.36,))


def test_without_a_network_its_estimators_have_nothing_to_say() -> None:
    for name in ("network-hgb", "network-and-dark-share"):
        assert BY_NAME[name].needs_network
        assert BY_NAME[name].values(indices()) is None


def test_the_screen_adds_its_log_odds_beside_the_estimator() -> None:
    class Screen:
        name, version = "screen", "1"

        def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.array([[0.2, 0.8]], np.float32)

    networks = FieldNetworks(screen=FieldNetwork(Screen(), None))
    assert networks.measure(simulated()) == {
        ANAEMIA_LOG_ODDS: pytest.approx(log_odds(0.8), rel=1e-5)
    }


def test_a_graph_that_answers_for_both_runs_once_a_tile() -> None:
    class Both:
        name, version, runs = "both", "1", 0

        def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
            self.runs += 1
            return np.array([[100.0, 0.3, 4.0, 1.0, 1.0, 1.0, 0.2, 0.8]], np.float32)

    graph, field = Both(), simulated()
    estimator, screen = FieldNetwork(graph, None), FieldNetwork(graph, None, first=6)
    alone = FieldNetworks(estimator=estimator).measure(field)
    once, graph.runs = graph.runs, 0
    found = FieldNetworks(estimator=estimator, screen=screen).measure(field)
    assert graph.runs == once > 0
    assert found == {**alone, ANAEMIA_LOG_ODDS: pytest.approx(log_odds(0.8), rel=1e-5)}


@pytest.mark.host
class TestTraining:
    """What trains it, on a handful of simulated fields."""

    def fields(self, count: int = 3) -> list[object]:
        from edgehemo_export.data.field_tiles import from_simulated
        from edgehemo_export.data.simulated.tiles import joined, simulated_one

        made = [simulated_one(i, seed=5, reference=i % 2 == 0) for i in range(count)]
        return list(from_simulated(joined(made)))

    def test_a_field_knows_what_every_block_holds(self) -> None:
        """Absorbance over the stain's coefficient is the haemoglobin (reference: linear camera)."""
        from edgehemo_export.data.simulated.tiles import (
            BLOCK_PX,
            REFERENCE_THICKNESS_UM,
            STORED_SIDE_PX,
            simulated_one,
        )

        made = simulated_one(0, seed=5, reference=True)
        light = np.maximum(made.codes[0, ..., 1] / 200.0, 0.01)
        blocks = STORED_SIDE_PX // BLOCK_PX
        density = -np.log10(light).reshape(blocks, BLOCK_PX, blocks, BLOCK_PX).mean(axis=(1, 3))
        seen = density / float(made.stain[0, 1])
        held = made.content[0, ..., 0] * REFERENCE_THICKNESS_UM / 1000.0
        # Not where chromatin absorbs: white cells hold no haemoglobin.
        red = seen < 2 * np.median(seen[held > 0]) + held
        slope = float((seen * held)[red].sum() / (held**2)[red].sum())
        assert slope == pytest.approx(1.0, rel=0.1)
        assert np.corrcoef(seen[red], held[red])[0, 1] > 0.9

    def test_contents_agree_with_the_blood(self) -> None:
        from edgehemo_export.data.simulated.tiles import simulated_one

        made = simulated_one(0, seed=5, reference=True)
        hgb, hct, rbc = made.content[0].mean(axis=(0, 1))
        assert hgb / hct == pytest.approx(made.panel[0, 0] / made.panel[0, 1], rel=0.02)
        assert hct / rbc == pytest.approx(made.panel[0, 1] / made.panel[0, 2], rel=0.2)

    def test_the_same_field_every_time(self) -> None:
        from edgehemo_export.data.simulated.tiles import simulated_one

        first, again = (simulated_one(3, seed=5) for _ in range(2))
        assert np.array_equal(first.codes, again.codes)
        assert np.array_equal(first.content, again.content)

    def test_what_was_drawn_is_what_the_haemoglobin_map_holds(self) -> None:
        """Counted cell by cell and summed over the map that is photographed: the same."""
        from edgehemo.capture.simulated import default_parameters
        from edgehemo.measurands import MEASURANDS
        from edgehemo.simulation.field import draw_specimen, photograph
        from edgehemo_export.data.simulated.samples import drawn_content
        from edgehemo_export.data.simulated.tiles import REFERENCE_THICKNESS_UM

        panel, rng = CBCPanel(130.0, 0.40, 4.5, 7.0, 250.0), np.random.default_rng(3)
        parameters = default_parameters()
        specimen = draw_specimen(
            panel, rng=rng, width_px=640, height_px=480, um_per_px=0.25, parameters=parameters
        )
        truth = photograph(specimen, parameters=parameters, rng=rng).truth
        drawn = drawn_content(truth)
        pad = specimen.margin_px
        held = specimen.thickness_um[pad : pad + 480, pad : pad + 640]
        in_map = float(held.mean()) / REFERENCE_THICKNESS_UM
        assert drawn["hct_l_per_l"] == pytest.approx(in_map, rel=0.02)
        assert drawn["hgb_g_per_l"] == pytest.approx(in_map * panel.mchc_g_per_l, rel=0.02)
        inside = sum(0 <= cell.x_px < 640 and 0 <= cell.y_px < 480 for cell in truth.of_kind("rbc"))
        assert drawn["rbc_1e12_per_l"] * truth.area_mm2 * 1e3 * (
            REFERENCE_THICKNESS_UM
        ) == pytest.approx(inside, rel=0.03)
        assert set(drawn) == set(MEASURANDS)

    def test_restaining_multiplies_absorbance(self) -> None:
        from edgehemo_export.data.field_tiles import restained

        tile = np.full((8, 8, 3), 100, np.uint8)
        out = restained(tile, np.array([1.0, 2.0, 0.5]), np.ones(3))
        assert out[0, 0].tolist() == [100, 50, round(200 * 0.5**0.5)]

    def test_an_episode_is_scored_after_its_own_factor(self) -> None:
        import torch

        from edgehemo_export.models.field_estimator.training import episode_factors

        content = torch.rand(6, 3, generator=torch.Generator().manual_seed(1)) + 0.5
        episode = torch.tensor([0, 0, 0, 1, 1, 1])
        mean = content * torch.tensor([2.0, 2, 2, 0.5, 0.5, 0.5])[:, None]
        fitted = mean * episode_factors(mean, content, episode)
        assert torch.allclose(fitted, content, rtol=0.15)

    def test_a_few_steps_run_and_resume(self, tmp_path: Path) -> None:
        from edgehemo_export.models.field_estimator.training import EstimatorTask, read_config
        from edgehemo_export.nets.resnet_fields import FieldEstimatorNet
        from edgehemo_export.training.loop import train
        from edgehemo_export.training.task import Run

        small = {
            "loop": {"steps": 2, "batch_size": 4, "validate_every": 2},
            "episodes": {"tiles": 2, "small_side_px": 64, "large_side_px": 96},
        }
        config = read_config(None, small)
        fields = self.fields(4)
        task = EstimatorTask(fields, [], fields[:2], config)  # type: ignore[arg-type]
        train(task, FieldEstimatorNet, config, tmp_path, Run(stop_after=1))
        net, state = train(task, FieldEstimatorNet, config, tmp_path)
        assert state.step == 2
        assert state.best_score is not None
        import torch

        answer = net(torch.full((1, 224, 224, 3), 200, dtype=torch.uint8))
        assert answer.shape == (1, 6)
        assert (answer[:, 3:] > 0).all()

    def test_half_precision_weights_load_into_the_network(self) -> None:
        import torch

        from edgehemo_export.nets.resnet_fields import FieldEstimatorNet
        from edgehemo_export.nets.stored_weights import half_precision

        net = FieldEstimatorNet().eval()
        codes = torch.randint(80, 220, (2, 224, 224, 3), dtype=torch.uint8)
        with torch.inference_mode():
            before = net(codes)
            stored = half_precision(net.state_dict())
            net.load_state_dict(stored)
            after = net(codes)
        assert stored["backbone.fc.weight"].dtype == torch.float16
        assert torch.allclose(before, after, rtol=0.02, atol=0.5)

    def test_a_map_of_what_speaks_for_an_answer(self) -> None:
        from edgehemo_export.evaluation.explanations import explanation_picture, gradient_map
        from edgehemo_export.nets.resnet_fields import FieldEstimatorNet

        tile = np.random.default_rng(0).integers(90, 210, (TILE_PX, TILE_PX, 3), dtype=np.uint8)
        heat = gradient_map(FieldEstimatorNet(), tile, 0)
        assert heat.shape == (TILE_PX, TILE_PX)
        assert 0 <= heat.min() <= heat.max() <= 1
        picture = explanation_picture(FieldEstimatorNet(), [tile], ["a"], [(0, "hgb")])
        assert picture.startswith(b"\x89PNG")
