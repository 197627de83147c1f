"""The real fields that quality limits are set on and judged on, and what is done to them.

Every set is cut in two by blocks of neighbouring file numbers (neighbours come from one slide):
"limits" for setting limits, "held-out" for judging them, once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehemo_export.data.sets import read_set

Part = Literal["limits", "held-out"]
Pixels = NDArray[np.uint8]

# Nominal um/px of each set (its README: from the width of normal red cells), used where a field's
# own red cells give no scale; and whether its fields are ordinary ones that should be accepted.
NOMINAL_UM_PER_PX = {
    "bccd": 0.08,
    "chula_rbc12": 0.20,
    "chula_disease": 0.10,
    "txl_pbc": 0.09,
    "anerbc": 0.38,
    "uganda_phone": 0.20,
}
ORDINARY = ("bccd", "chula_rbc12", "chula_disease", "txl_pbc", "anerbc")
_BLOCK = {"bccd": 20, "chula_rbc12": 40, "uganda_phone": 15, "txl_pbc": 40}
# One patient's two fields and two files of one panel stay together (the set's README).
_ANERBC_LIMITS = ("001", "003", "004")
# Blur is done on linear light; the cameras' response is taken for the usual power.
_GAMMA = 2.2


def data_root() -> Path:
    """EDGEHEMO_DATA, else ../shared/data beside the project."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("EDGEHEMO_DATA", default))


def fields_of(name: str, part: Part, count: int) -> list[Path]:
    """At most ``count`` files of one part of a set, evenly chosen."""
    files = _split(name)[0 if part == "limits" else 1]
    chosen = np.unique(np.linspace(0, len(files) - 1, min(count, len(files))).astype(int))
    return [files[i] for i in chosen]


def read_rgb(path: Path) -> Pixels:
    """uint8 RGB pixels of a file; OSError where it is no image."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise OSError(f"{path}: cannot be read")
    return np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)


def defocused(
    pixels: Pixels, radius_um: float, um_per_px: float, rng: np.random.Generator, noise: float = 1.5
) -> Pixels:
    """Blurred by a circle of confusion on linear light, with camera noise (counts) after it."""
    encoded = pixels.astype(np.float32)
    if radius_um > 0:
        light = (encoded / 255.0) ** _GAMMA
        light = np.asarray(
            cv2.filter2D(light, -1, disc(radius_um / um_per_px), borderType=cv2.BORDER_REFLECT)
        )
        encoded = (255.0 * np.maximum(light, 0.0) ** (1 / _GAMMA)).astype(np.float32)
    return _with_noise(encoded, rng, noise)


def exposed(pixels: Pixels, gain: float, rng: np.random.Generator) -> Pixels:
    """All counts times ``gain``, clipped."""
    return _with_noise(pixels.astype(np.float32) * gain, rng, 1.0)


def faded(
    pixels: Pixels, light: NDArray[np.float32], share: float, rng: np.random.Generator
) -> Pixels:
    """Every optical density times ``share``; ``light`` float32 like ``pixels``: the background."""
    transmittance = np.clip(pixels / np.maximum(light, 1.0), 0.005, 1.3)
    return _with_noise((light * transmittance**share).astype(np.float32), rng, 1.0)


def empty(light: NDArray[np.float32], rng: np.random.Generator) -> Pixels:
    """The field's own background without any cell."""
    return _with_noise(light, rng, 1.5)


def not_smears(seed: int, count: int) -> list[tuple[str, Pixels]]:
    """Pictures that are no smear, (kind, 480x640 pixels): drawn, and photographs where there are.

    The photographs are scikit-learn's and matplotlib's samples, present with the [host] extra.
    """
    rng = np.random.default_rng(seed)
    height, width = 480, 640
    y, x = np.mgrid[:height, :width].astype(np.float32)
    out: list[tuple[str, Pixels]] = []

    def add(kind: str, picture: NDArray[np.floating] | Pixels) -> None:
        shaped = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        out.append((kind, np.clip(shaped, 0, 255).astype(np.uint8)))

    for index in range(count):
        ends = rng.uniform(0, 255, (2, 3))
        angle = rng.uniform(0, 2 * np.pi)
        slope = np.cos(angle) * x + np.sin(angle) * y
        slope = (slope - slope.min()) / np.ptp(slope)
        noise = rng.normal(0, 2, (height, width, 3))
        add("gradient", ends[0] + (ends[1] - ends[0]) * slope[..., None] + noise)
        add("uniform", rng.integers(0, 256, 3) + rng.uniform(0, 2) * noise)
        add("black", np.abs(rng.uniform(0, 2) * noise))
        add("white", np.full((height, width, 3), 255.0))
        add("noise", rng.integers(0, 256, (height, width, 3)).astype(np.float32))
        for kind, shape in (("clouds", (height, width, 3)), ("grey clouds", (height, width))):
            clouds = cv2.GaussianBlur(
                rng.normal(0, 1, shape).astype(np.float32), (0, 0), rng.uniform(2, 40)
            )
            add(kind, clouds / clouds.std() * rng.uniform(20, 60) + rng.uniform(80, 180))
        add("text", _text(rng, height, width, index))
        add("shapes", _shapes(rng, height, width))
        side = int(rng.integers(8, 60))
        add("checkers", 40 + rng.uniform(40, 200) * ((x // side + y // side) % 2))
        add("stripes", 120 + 80 * np.sign(np.sin(x / rng.uniform(4, 40))))
    for picture in _photographs():
        for _ in range(count):
            out.append(("photograph", _crop(picture, rng, height, width)))
    return out


def wilson(hits: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if total == 0:
        return 0.0, 1.0
    z = 1.959964
    share = hits / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    half /= 1 + z * z / total
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _split(name: str) -> tuple[list[Path], list[Path]]:
    pictures = read_set(data_root(), name)
    if name == "txl_pbc":
        files = [p.path for p in sorted(pictures, key=lambda p: (p.source, p.original))]
    elif name == "anerbc":
        files = sorted(p.path for p in pictures)
        limits = [file for file in files if file.name[:3] in _ANERBC_LIMITS]
        return limits, [file for file in files if file not in limits]
    elif name == "chula_disease":
        first: list[Path] = []
        second: list[Path] = []
        for disease in sorted({p.labels.class_name or "" for p in pictures}):
            here = [p.path for p in pictures if p.labels.class_name == disease]
            here.sort(key=_number)
            first += here[: len(here) // 2]
            second += here[len(here) // 2 :]
        return first, second
    elif name == "uganda_phone":
        files = sorted(p.path for p in pictures)
    else:
        files = sorted((p.path for p in pictures), key=_number)
    block = _BLOCK[name]
    parts: tuple[list[Path], list[Path]] = ([], [])
    for index, file in enumerate(files):
        parts[(index // block) % 2].append(file)
    return parts


def _number(path: Path) -> int:
    found = re.findall(r"\d+", path.stem)
    return int(found[-1]) if found else 0


def _with_noise(picture: NDArray[np.float32], rng: np.random.Generator, noise: float) -> Pixels:
    noisy = picture + rng.normal(0, noise, picture.shape).astype(np.float32)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def disc(radius_px: float) -> NDArray[np.float32]:
    """A disc with an anti-aliased edge (8 x 8 samples a pixel), sum 1."""
    half, samples = int(np.ceil(radius_px)) + 1, 8
    grid = (np.arange((2 * half + 1) * samples) + 0.5) / samples - (2 * half + 1) / 2
    inside = (grid[:, None] ** 2 + grid[None] ** 2 <= radius_px**2).astype(np.float32)
    side = 2 * half + 1
    kernel = inside.reshape(side, samples, side, samples).mean(axis=(1, 3))
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)


def _text(rng: np.random.Generator, height: int, width: int, index: int) -> Pixels:
    page = np.full((height, width, 3), int(rng.integers(200, 256)), np.uint8)
    colour = [(0, 0, 0), (20, 20, 120), (120, 20, 20)][index % 3]
    size = float(rng.uniform(0.3, 1.8))
    letters = list("abcdefghijkl mnopqrstuvwxyz ABCDEFGH 0123")
    for line in range(20, height, int(14 + 28 * size)):
        words = "".join(rng.choice(letters) for _ in range(120))
        cv2.putText(
            page,
            words,
            (5, line),
            cv2.FONT_HERSHEY_SIMPLEX,
            size,
            colour,
            max(1, round(1.6 * size)),
            cv2.LINE_AA,
        )
    return page


def _shapes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    page = np.empty((height, width, 3), np.uint8)
    page[:] = rng.integers(0, 256, 3)
    for _ in range(int(rng.integers(10, 60))):
        start = rng.integers(0, [width, height])
        end = start + rng.integers(-120, 120, 2)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        a, b = (int(start[0]), int(start[1])), (int(end[0]), int(end[1]))
        kind = int(rng.integers(0, 4))
        if kind == 0:
            cv2.rectangle(page, a, b, colour, -1)
        elif kind == 1:
            cv2.circle(page, a, int(rng.integers(5, 80)), colour, -1)
        elif kind == 2:
            cv2.line(page, a, b, colour, int(rng.integers(1, 15)))
        else:
            corners = rng.integers(0, [width, height], (3, 2)).astype(np.int32)
            cv2.fillPoly(page, [corners], colour)
    return page


def _photographs() -> list[Pixels]:
    pictures: list[Pixels] = []
    try:
        from sklearn.datasets import load_sample_images

        pictures += [np.asarray(image, dtype=np.uint8) for image in load_sample_images().images]
    except ImportError:
        pass
    try:
        import matplotlib

        folder = Path(matplotlib.get_data_path()) / "sample_data"
    except ImportError:
        return pictures
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".jpg", ".png"):
            picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if picture is not None and min(picture.shape[:2]) > 150:
                pictures.append(np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8))
    return pictures


def _crop(picture: Pixels, rng: np.random.Generator, height: int, width: int) -> Pixels:
    share = rng.uniform(0.3, 1.0)
    rows, columns = int(picture.shape[0] * share), int(picture.shape[1] * share)
    top = int(rng.integers(0, picture.shape[0] - rows + 1))
    left = int(rng.integers(0, picture.shape[1] - columns + 1))
    part = picture[top : top + rows, left : left + columns]
    return np.asarray(
        cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )
