"""Red cells judged by a binary mask: which outlines are one cell, and what is not judged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.bundle.manifest import KindOperatingPoint, ScoreCalibration
from edgehemo.cells.cell import CELL_KINDS
from edgehemo.cells.finder import CellFinder
from edgehemo.errors import UsageError

pytest.importorskip("torch", reason="needs the host extra")

from edgehemo_export.models.finder.evaluation import IDENTITY_POINT, finder_input
from edgehemo_export.models.finder.isolated import isolated_cells, measure_isolated, read_mask
from edgehemo_export.nets.architectures import FINDER_MULTIPLE


def discs(*places: tuple[int, int, int], size: tuple[int, int] = (240, 320)) -> NDArray[np.bool_]:
    """A mask (h, w) of discs (x, y, radius)."""
    mask = np.zeros(size, np.uint8)
    for x, y, radius in places:
        cv2.circle(mask, (x, y), radius, 1, cv2.FILLED)
    return mask.astype(bool)


SINGLE = [(40, 40, 15), (100, 40, 16), (160, 40, 14), (220, 40, 15), (40, 100, 15)]


def test_outlines_of_one_cell_are_told_from_clumps_platelets_and_cut_cells() -> None:
    pair = [(110, 110, 15), (133, 110, 15)]
    mask = discs(*SINGLE, *pair, (200, 120, 5), (0, 180, 15), (260, 200, 30))
    found = isolated_cells(mask)
    # A box's sides are edges of pixels, a disc's middle is the middle of one.
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - 0.5
    assert sorted(map(tuple, centres.tolist())) == sorted((x, y) for x, y, _ in SINGLE)
    assert found.places[40, 40] == 1
    for x, y in ((110, 110), (200, 120), (2, 180), (260, 200)):
        assert found.places[y, x] == 2
    assert found.places[220, 60] == 0


def test_a_mask_without_cells_has_none() -> None:
    found = isolated_cells(np.zeros((50, 60), bool))
    assert found.boxes.shape == (0, 4) and not found.places.any()


def test_specks_of_a_mask_are_background() -> None:
    mask = discs(*SINGLE)
    mask[150:230:4, 10:310:4] = True
    assert len(isolated_cells(mask).boxes) == len(SINGLE)
    assert isolated_cells(mask).places[150, 10] == 0


@pytest.mark.parametrize("cells_are_white", [True, False])
def test_the_darker_side_of_a_mask_is_the_cells(tmp_path: Path, cells_are_white: bool) -> None:
    mask = discs(*SINGLE)
    picture = np.where(mask[..., None], 120, 220).astype(np.uint8).repeat(3, axis=2)
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), ((mask == cells_are_white) * 255).astype(np.uint8))
    assert (read_mask(path, picture) == mask).all()
    with pytest.raises(UsageError, match="another size than its picture"):
        read_mask(path, picture[:-2])


def test_a_data_root_without_masks_gives_no_figure(tmp_path: Path) -> None:
    points: dict[str, KindOperatingPoint] = dict.fromkeys(CELL_KINDS, IDENTITY_POINT)
    assert measure_isolated(tmp_path, CellFinder(Blind(), SPEC, points), points) == []


SPEC = finder_input(FINDER_MULTIPLE)


class Blind:
    """A runner that sees nothing."""

    name, version = "blind", "0"

    def run(self, codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        _, height, width, _ = codes.shape
        return np.zeros((1, height // 4, width // 4, 7), np.float32)


@pytest.mark.real
def test_a_blind_finder_finds_none_of_the_cells_of_real_masks(
    data_root: Path, tmp_path: Path
) -> None:
    """The figures come from the finder: one that answers nothing scores nothing."""
    folder = tmp_path / "anerbc"
    folder.mkdir()
    rows = (data_root / "anerbc" / "pairs.csv").read_text(encoding="utf-8").splitlines()
    (folder / "pairs.csv").write_text("\n".join(rows[:2]) + "\n", encoding="utf-8")
    for kind in ("images", "masks"):
        (folder / kind).symlink_to(data_root / "anerbc" / kind)
    point = IDENTITY_POINT.model_copy(
        update={"calibration": ScoreCalibration(slope=1.0, intercept=0.0)}
    )
    points: dict[str, KindOperatingPoint] = dict.fromkeys(CELL_KINDS, point)
    metrics = measure_isolated(tmp_path, CellFinder(Blind(), SPEC, points), points)
    figures = {metric.name: metric for metric in metrics}
    assert figures["AP50 rbc"].value == 0.0 and figures["AP50 rbc"].images == 1
    assert figures["red cells found at the threshold"].value == 0.0
    assert figures["interior rbc count, total relative error"].value == -1.0
