"""The anaemia screen: by sample on the device, its sets, and its training on the host."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehemo.bundle.manifest import KindOperatingPoint, ScoreCalibration
from edgehemo.estimate.anaemia_screen import NOTE, class_of, screen_sample, sigmoid
from edgehemo.estimate.network import ANAEMIA_LOG_ODDS
from edgehemo.estimate.output import AnaemiaScreenEntry
from edgehemo.estimate.values import FieldIndices


def field(**model: float) -> FieldIndices:
    return FieldIndices(
        cell_cover=0.3,
        cell_od_red=0.1,
        cell_od_green=0.2,
        cell_od_blue=0.2,
        field_od_red=0.03,
        field_od_green=0.06,
        field_od_blue=0.06,
        dark_share=0.25,
        cell_area_um2=44.0,
        cell_area_cv=0.1,
        rbc_per_mm2=None,
        area_mm2=0.01,
        model=model,
    )


def point(slope: float = 1.0, intercept: float = 0.0) -> KindOperatingPoint:
    return KindOperatingPoint(
        threshold=0.5,
        calibration=ScoreCalibration(slope=slope, intercept=intercept),
        count_relative_sd=0.0,
    )


def test_the_log_odds_of_a_samples_fields_are_averaged_and_calibrated() -> None:
    fields = [field(**{ANAEMIA_LOG_ODDS: value}) for value in (1.0, 3.0)]
    result = screen_sample([*fields, field()], point(slope=0.5, intercept=-0.2))
    assert result is not None
    assert result.fields == 2
    assert result.score == pytest.approx(sigmoid(0.5 * 2.0 - 0.2))


def test_a_sample_that_no_field_speaks_for_has_no_result() -> None:
    assert screen_sample([field(), field(hgb=100.0)], point()) is None


def test_a_minority_of_fields_does_not_speak_for_the_sample() -> None:
    read = field(**{ANAEMIA_LOG_ODDS: 2.0})
    assert screen_sample([read, field(), field()], point()) is None
    assert screen_sample([read, read, field()], point()) is not None


def test_in_between_a_sample_is_called_neither() -> None:
    assert class_of(0.9) == "anaemia-like"
    assert class_of(0.5) == "uncertain"
    assert class_of(0.1) == "control-like"


def test_the_record_says_that_it_is_no_diagnosis() -> None:
    result = screen_sample([field(**{ANAEMIA_LOG_ODDS: 4.0})], point())
    assert result is not None
    assert AnaemiaScreenEntry.of(result).model_dump() == {
        "score": pytest.approx(sigmoid(4.0), abs=1e-4),
        "class": "anaemia-like",
        "fields": 1,
        "note": NOTE,
    }
    assert "no diagnosis" in NOTE


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid(-1000.0) == pytest.approx(0.0)
    assert sigmoid(1000.0) == pytest.approx(1.0)


@pytest.mark.host
class TestTraining:
    """Sets and training, on made-up pictures."""

    def chula(self, root: Path, normal: int, abnormal: int, number: int = 1) -> Path:
        images, labels = root / "chula_rbc12" / "images", root / "chula_rbc12" / "labels"
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(images / f"{number}.jpg"), np.full((64, 64, 3), 200, np.uint8))
        lines = ["10 10 0"] * normal + ["20 20 11"] * abnormal
        (labels / f"{number}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return root

    @pytest.mark.parametrize(
        ("normal", "abnormal", "wanted"),
        [(9, 1, 0), (1, 9, 1), (5, 5, None), (3, 0, None)],
    )
    def test_a_chula_field_is_called_by_its_labelled_cells(
        self, tmp_path: Path, normal: int, abnormal: int, wanted: int | None
    ) -> None:
        from edgehemo.errors import UsageError
        from edgehemo_export.models.anaemia_screen.data import screen_images

        root = self.chula(tmp_path, normal, abnormal)
        if wanted is None:
            with pytest.raises(UsageError, match="none of the sets"):
                screen_images(root)
        else:
            (image,) = screen_images(root)
            assert (image.source, image.label) == ("chula", wanted)

    def test_patients_with_one_blood_count_are_one_group(self, tmp_path: Path) -> None:
        from edgehemo_export.data.smears import smear_images

        folder = tmp_path / "anerbc"
        (folder / "images").mkdir(parents=True)
        rows = ["image,cohort,hgb_g_per_l,hct_l_per_l,rbc_1e12_per_l"]
        for name in ("a.png", "b.png"):
            cv2.imwrite(str(folder / "images" / name), np.zeros((8, 8, 3), np.uint8))
            rows.append(f"{name},healthy,135.0,0.419,4.65")
        (folder / "pairs.csv").write_text("\n".join(rows), encoding="utf-8")
        assert len({image.group for image in smear_images(tmp_path)}) == 1

    def screen_fields(self) -> list[object]:
        from edgehemo_export.models.anaemia_screen.data import ScreenField

        rng = np.random.default_rng(0)
        made = []
        for source in ("chula", "anerbc"):
            for label in (0, 1):
                codes = rng.integers(120 + 40 * label, 200, (96, 96, 3), dtype=np.uint8)
                made.append(ScreenField(codes, source, f"{source}-{label}", label, np.zeros(5)))
        # A source of one class alone would teach the source.
        made.append(ScreenField(made[0].codes, "uganda_phone", "u", 0, np.zeros(5)))
        return list(made)

    def test_batches_hold_both_classes_in_equal_parts(self) -> None:
        import torch

        from edgehemo_export.models.anaemia_screen.training import ScreenTask, read_config

        config = read_config(None, {"tile_side_px": 64})
        task = ScreenTask(self.screen_fields(), [], config)  # type: ignore[arg-type]
        batch = task.batch(8, np.random.default_rng(0), torch.Generator())
        assert batch.light.shape == (8, 3, 64, 64)
        assert int(batch.labels.sum()) == 4

    def test_a_source_of_one_class_is_not_learnt_from(self) -> None:
        from edgehemo.errors import UsageError
        from edgehemo_export.models.anaemia_screen.training import ScreenTask, read_config

        alone = [f for f in self.screen_fields() if f.source == "uganda_phone"]  # type: ignore[attr-defined]
        with pytest.raises(UsageError, match="both classes"):
            ScreenTask(alone, [], read_config())  # type: ignore[arg-type]

    def test_a_step_runs_from_the_estimators_weights(self, tmp_path: Path) -> None:
        import torch

        from edgehemo_export.models.anaemia_screen.training import ScreenTask, read_config
        from edgehemo_export.nets.resnet_fields import AnaemiaScreenNet, FieldEstimatorNet
        from edgehemo_export.training.loop import train

        small = {"tile_side_px": 64, "loop": {"steps": 1, "batch_size": 2, "validate_every": 0}}
        config = read_config(None, small)
        task = ScreenTask(self.screen_fields(), [], config)  # type: ignore[arg-type]
        estimator = FieldEstimatorNet().state_dict()
        sibling = {f"trunk.{name}": value for name, value in estimator.items()}
        net, state = train(task, AnaemiaScreenNet, config, tmp_path, weights=sibling)
        assert state.step == 1
        kept = net.trunk.state_dict()
        assert all(torch.equal(kept[name], value) for name, value in estimator.items())
        answer = net(torch.full((2, 224, 224, 3), 180, dtype=torch.uint8))
        assert torch.allclose(answer.sum(dim=1), torch.ones(2))

    def test_without_an_estimator_there_is_nothing_to_read(self, tmp_path: Path) -> None:
        from edgehemo.errors import UsageError
        from edgehemo_export.models.anaemia_screen.run import read_config, run_training
        from edgehemo_export.training.task import Run

        with pytest.raises(UsageError, match=r"--init field_estimator\.safetensors"):
            run_training(tmp_path, read_config(), tmp_path, Run())

    def test_probabilities_of_samples_follow_the_odds(self) -> None:
        from edgehemo_export.models.anaemia_screen.evaluation import (
            Judged,
            operating_point,
            source_metrics,
        )

        rng = np.random.default_rng(1)
        labels = np.array([0, 1] * 12, np.intp)
        odds = rng.normal(0, 0.5, 24) + 3.0 * labels
        names = [f"s{i // 2}-{label}" for i, label in enumerate(labels)]
        found = Judged(odds, labels, ["chula"] * 24, names)
        fitted = operating_point(found)
        assert fitted.calibration.slope > 0
        # The line calls a sample half way between the classes neither.
        middle = fitted.calibration.slope * 1.5 + fitted.calibration.intercept
        assert class_of(sigmoid(middle)) == "uncertain"
        values = {m.name: m.value for m in source_metrics(found, "chula", fitted)}
        assert values["AUROC by sample"] == 1.0
        assert values["anaemia-like samples called so"] > 0.8
