"""The pictures that int8 is calibrated on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgehemo.errors import UsageError

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("onnx", reason='needs pip install "edgehemo[host]"')

from edgehemo_export.quantisation.calibration_set import manifest_files, read_calibration_set
from tests.support.small_export import crops


def test_a_manifest_lists_images(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    image = write_image(tmp_path / "pictures" / "a.png", crops(1)[0][0])
    text = tmp_path / "list.txt"
    text.write_text("# ours\npictures/a.png\n\n")
    assert manifest_files(text) == [image]
    table = tmp_path / "list.csv"
    table.write_text("image,slide\npictures/a.png,1\n")
    assert manifest_files(table) == [image]
    table.write_text("picture\nx\n")
    with pytest.raises(UsageError, match="no column `image`"):
        manifest_files(table)
    text.write_text("gone.png\n")
    with pytest.raises(UsageError, match="does not exist"):
        manifest_files(text)
    text.write_text("\n")
    with pytest.raises(UsageError, match="lists no image"):
        manifest_files(text)
    with pytest.raises(UsageError, match="takes a folder of images, a data root, or a manifest"):
        read_calibration_set(tmp_path / "list.pdf")


def test_black_pictures_calibrate_nothing(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    for number in range(30):
        write_image(tmp_path / f"{number}.png", np.zeros((240, 320, 3), np.uint8))
    with pytest.raises(UsageError, match="only 0 calibration samples"):
        read_calibration_set(tmp_path)


@pytest.mark.real
def test_too_small_a_calibration_set_is_refused(data_root: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((data_root / "bccd" / "images").iterdir())[:5]:
        (few / path.name).symlink_to(path)
    with pytest.raises(UsageError, match="needs at least 100"):
        read_calibration_set(few)
