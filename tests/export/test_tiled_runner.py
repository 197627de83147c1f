"""A network of one input size over a picture of any, by tiles."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.bundle.manifest import InputSpec

pytestmark = pytest.mark.host
pytest.importorskip("torch", reason='needs pip install "edgehemo[host]"')
pytest.importorskip("onnx", reason='needs pip install "edgehemo[host]"')

from edgehemo_export.evaluation.tiled_runner import TiledRunner


def test_a_fixed_size_is_covered_by_tiles_as_the_device_does() -> None:
    spec = InputSpec(
        height_px=192,
        width_px=192,
        multiple_of_px=16,
        um_per_px=0.25,
        code_of_transmittance_1=200.0,
    )

    def run(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert codes.shape == (1, 192, 192, 3)
        return codes[:, ::4, ::4, :1].astype(np.float32)

    tiled = TiledRunner(SimpleNamespace(name="x", version="0", run=run), spec)
    for height, width in ((160, 320), (64, 64), (400, 272)):
        picture = np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype(np.uint8)
        assert np.array_equal(tiled.run(picture), picture[:, ::4, ::4, :1].astype(np.float32))
