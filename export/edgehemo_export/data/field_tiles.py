"""Tiles cut from fields for the ResNet18 models: real fields, crops, and how they are varied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehemo.cells.cell import FieldCells
from edgehemo.errors import EdgeHemoError
from edgehemo.field.canonical import (
    CANONICAL_UM_PER_PX,
    UINT8_PER_TRANSMITTANCE,
    CanonicalField,
)
from edgehemo.field.scale import cell_mask
from edgehemo.images.reading import read_frame
from edgehemo.screening.field import FieldReader, Finder
from edgehemo_export.configuration import Configuration
from edgehemo_export.data.cache import content_of, prepared
from edgehemo_export.data.simulated.tiles import BLOCK_PX, REFERENCE_THICKNESS_UM, SimulatedFields
from edgehemo_export.data.smears import FieldImage

# Turns real fields' green optical density and cover into numbers like the nominal ones (the
# simulated microscope's stain; a cell layer of 1.9 um): an episode fits its own factor anyway.
GREEN_OD_PER_PG_UM2 = 0.333
CELL_HEIGHT_UM = 1.9
_LOWEST_TRANSMITTANCE = 0.01


class TileVariation(Configuration):
    """How a tile's picture is varied in training; standard deviations are relative.

    sample_stain_sd: of the stain between the samples of one microscope, all channels together;
    channel_stain_sd: each channel on its own. background_sd: of the clear field, as the division
    by the illumination leaves it. jpeg_share, blur_share: of the tiles.
    """

    sample_stain_sd: float
    channel_stain_sd: float
    background_sd: float
    blur_share: float
    blur_sigma_px: float
    noise_codes: float
    jpeg_share: float


@dataclass(frozen=True)
class TiledField:
    """A field to cut tiles from.

    codes: uint8 (h, w, 3). content: float32 (h / BLOCK_PX, w / BLOCK_PX, 3), nominal HGB, HCT and
    RBC of each block, of a real field as its own indices see it. stain: encoded optical density
    per pg/um^2, RGB, where it is known. source: the set. group: its slide, or block of
    neighbouring numbers. reference: of the simulated microscope as it stands.
    """

    codes: NDArray[np.uint8]
    content: NDArray[np.float32]
    stain: NDArray[np.float32] | None
    source: str
    group: str
    reference: bool = False

    def fits(self, side: int) -> bool:
        return bool(min(self.codes.shape[:2]) >= side)


def from_simulated(fields: SimulatedFields) -> list[TiledField]:
    """Views of simulated fields."""
    return [
        TiledField(
            fields.codes[i],
            fields.content[i],
            fields.stain[i],
            "simulated",
            f"simulated-{i}",
            bool(fields.reference[i]),
        )
        for i in range(len(fields))
    ]


def real_fields(
    images: Iterable[FieldImage],
    finder: Finder,
    cache: Path | None,
    *,
    finder_digest: str = "",
    accepted_only: bool = False,
) -> list[TiledField]:
    """Real fields with what their indices say of every block; unreadable ones are left out.

    They are read as a screening reads them, but without the bundle's envelope, which is fitted on
    such fields and must not choose them, and without naming or measuring: a tile is labelled by
    what physics says of each block.

    finder_digest: tells the finder from any other, by its bundle's digest, runtime and precision:
    another one finds other cells, and the cache must not give it the first one's. ValueError where
    it is missing and there is a cache. accepted_only: leave out, too, what the device's quality
    checks refuse.
    """
    if cache is not None and not finder_digest:
        raise ValueError("a cache of what a finder finds needs the finder's digest")
    found = []
    for image in images:
        depends_on = {"picture": content_of(image.path), "finder": finder_digest}
        try:
            stored = prepared(cache, "field-tiles", depends_on, partial(_read, image, finder))
        except NothingToCutError:
            continue
        if stored["accepted"] or not accepted_only:
            codes, content = stored["codes"], stored["content"]
            found.append(TiledField(codes, content, None, image.source, image.group))
    return found


def training_reader(finder: Finder) -> FieldReader:
    """Reads fields for training; see `real_fields` for what it leaves out and why."""
    return FieldReader(finder, measure=False, keep_refused=True)


class NothingToCutError(Exception):
    """A picture no tile can be cut from: left out, and told to nobody."""


def _read(image: FieldImage, finder: Finder) -> dict[str, NDArray[Any]]:
    """codes, content and whether quality accepts; `NothingToCutError` for what no field can be made
    of, what shows no scale, and what is smaller than two blocks.
    """
    try:
        reading, field = training_reader(finder).read_canonical(read_frame(image.path))
    except EdgeHemoError as error:
        raise NothingToCutError(str(error)) from error
    if field.scale_source == "assumed":
        raise NothingToCutError(f"{image.path.name}: no red cell tells the scale")
    assert reading.cells is not None, "refused fields are kept"
    cells, accepted = reading.cells, reading.accepted
    rows, columns = field.height // BLOCK_PX, field.width // BLOCK_PX
    if min(rows, columns) < 2:
        raise NothingToCutError(f"{image.path.name}: smaller than two blocks")
    codes = field.to_uint8()[: rows * BLOCK_PX, : columns * BLOCK_PX]
    content = physical_content(field, cells)
    return {"codes": codes, "content": content, "accepted": np.array(accepted)}


def physical_content(field: CanonicalField, cells: FieldCells) -> NDArray[np.float32]:
    """What physics says of each block of a real field, float32 (rows, columns, 3).

    Green optical density, cover and red cells found, white cells and platelets left out, each
    turned into a number like the nominal concentration.
    """
    density = field.optical_density()[..., 1]
    cover = (cell_mask(np.ascontiguousarray(field.transmittance[..., 1]), field.valid) > 0).astype(
        np.float32
    )
    count = np.zeros_like(density)
    across, down = field.frame_px_per_canonical_px
    for cell in cells.cells:
        x0, x1 = round(cell.x0 / across), round(cell.x1 / across)
        y0, y1 = round(cell.y0 / down), round(cell.y1 / down)
        box = (slice(max(0, y0), max(0, y1)), slice(max(0, x0), max(0, x1)))
        if cell.kind == "rbc":
            count[box] += 1.0 / max(1, (x1 - x0) * (y1 - y0))
        else:
            density[box] = 0.0
            cover[box] = 0.0
    per_area = 1000.0 / (GREEN_OD_PER_PG_UM2 * REFERENCE_THICKNESS_UM)
    maps = np.dstack(
        [
            density * per_area,
            cover * (CELL_HEIGHT_UM / REFERENCE_THICKNESS_UM),
            count * (1000.0 / (CANONICAL_UM_PER_PX**2 * REFERENCE_THICKNESS_UM)),
        ]
    )
    rows, columns = field.height // BLOCK_PX, field.width // BLOCK_PX
    maps = maps[: rows * BLOCK_PX, : columns * BLOCK_PX]
    grouped = maps.reshape(rows, BLOCK_PX, columns, BLOCK_PX, 3)
    return np.asarray(grouped.mean(axis=(1, 3)), np.float32)


def cut_tile(
    field: TiledField, side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A random tile in a random one of eight orientations, and its content float32 (3,)."""
    blocks = side // BLOCK_PX
    rows, columns = field.content.shape[:2]
    row = int(rng.integers(0, rows - blocks + 1))
    column = int(rng.integers(0, columns - blocks + 1))
    y, x = row * BLOCK_PX, column * BLOCK_PX
    tile = np.rot90(field.codes[y : y + side, x : x + side], int(rng.integers(0, 4)))
    if rng.random() < 0.5:
        tile = tile[:, ::-1]
    content = field.content[row : row + blocks, column : column + blocks].mean(axis=(0, 1))
    return np.ascontiguousarray(tile), np.asarray(content, np.float32)


def restained(
    tile: NDArray[np.uint8], factor: NDArray[np.float64], background: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Optical density times ``factor`` (3,), all light times ``background`` (3,); same codes."""
    light = np.maximum(np.arange(256) / UINT8_PER_TRANSMITTANCE, _LOWEST_TRANSMITTANCE)
    table = light[:, None] ** factor[None] * background[None] * UINT8_PER_TRANSMITTANCE
    lut = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(tile, lut[None]), np.uint8)


def varied(
    tile: NDArray[np.uint8],
    factor: NDArray[np.float64],
    options: TileVariation,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """A tile restained, then as another objective, sensor and file format would show it."""
    background = 1.0 + options.background_sd * rng.standard_normal(3)
    out = restained(tile, factor, background)
    if rng.random() < options.blur_share:
        sigma = rng.uniform(0.3, options.blur_sigma_px)
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), sigma), np.uint8)
    if options.noise_codes > 0 and rng.random() < 0.5:
        noise = rng.standard_normal(out.shape, dtype=np.float32)
        noise *= np.float32(rng.uniform(0, options.noise_codes))
        out = np.clip(np.rint(out + noise), 0, 255).astype(np.uint8)
    if rng.random() < options.jpeg_share:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        done, packed = cv2.imencode(".jpg", out, quality)
        if done:
            out = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return out


def sample_stain(options: TileVariation, rng: np.random.Generator) -> NDArray[np.float64]:
    """By how much a sample's stain differs from its microscope's, float64 (3,)."""
    common = options.sample_stain_sd * rng.standard_normal()
    return np.asarray(np.exp(common + options.channel_stain_sd * rng.standard_normal(3)))


def as_input(tiles: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Codes of tiles of one size to transmittance float32 (n, 3, h, w), channels last."""
    codes = torch.from_numpy(np.stack(tiles))
    light = codes.permute(0, 3, 1, 2).to(torch.float32) / UINT8_PER_TRANSMITTANCE
    return light.contiguous(memory_format=torch.channels_last)
