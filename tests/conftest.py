"""What every test may ask for: the real smears, and small frames made on the spot."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from cv2.typing import MatLike
from numpy.typing import NDArray

from edgehemo.commands import common
from edgehemo.files.atomic import dump_json
from edgehemo.files.strict import Record
from edgehemo.images.frame import Frame
from tests.support.schemas import validate

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The root of the real smears (EDGEHEMO_DATA, default ../shared/data beside the project)."""
    named = os.environ.get("EDGEHEMO_DATA")
    root = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"no real smears at {root}; set EDGEHEMO_DATA to the folder that holds them")
    return root


@pytest.fixture(scope="session")
def cases_root() -> Path:
    """Small inputs with the right answers (../shared/cases beside the project)."""
    root = REPOSITORY.parent / "shared" / "cases"
    if not root.is_dir():
        pytest.skip(f"no inputs with right answers at {root}; they lie beside the project")
    return root


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the keys, results, bundles or settings of whoever runs it.

    The keys serve the whole run, which signs small bundles once; the rest is a test's own, since
    what one leaves behind (when its last result was made) would be known to the next.
    """
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("EDGEHEMO_KEYS", str(base / "keys"))
    own = base / f"user-{uuid.uuid4().hex}"
    monkeypatch.setenv("XDG_DATA_HOME", str(own / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own / "config"))


@pytest.fixture(autouse=True)
def _outputs_keep_to_their_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever JSON a command writes, in any test, is held against its published schema."""
    write = common.write_json

    def checked(json_file: str | None, output: Record) -> None:
        if json_file is not None:
            validate(json.loads(dump_json(output.model_dump())))
        write(json_file, output)

    monkeypatch.setattr(common, "write_json", checked)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed, fresh for each test."""
    return np.random.default_rng(20261121)


@pytest.fixture
def small_pixels(rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 RGB (48, 64, 3): smooth colour patches with a little noise, so that codecs keep it."""
    coarse = rng.integers(40, 230, size=(6, 8, 3)).astype(np.float32)
    smooth = np.asarray(cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC))
    noisy = smooth + rng.normal(0, 2, size=smooth.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


@pytest.fixture
def small_frame(small_pixels: NDArray[np.uint8]) -> Frame:
    """`small_pixels` as a Frame."""
    return Frame(small_pixels, "small")


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """``write_image(path, rgb, *parameters)``: encode RGB, grey or RGBA by the path's suffix."""

    def write(path: Path, pixels: MatLike, *parameters: int) -> Path:
        array = pixels
        if pixels.ndim == 3:
            order = [2, 1, 0, 3] if pixels.shape[2] == 4 else [2, 1, 0]
            array = np.ascontiguousarray(pixels[..., order])
        done, coded = cv2.imencode(path.suffix, array, list(parameters))
        assert done
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(coded.tobytes())
        return path

    return write
