"""Drawn pictures of blood in folders by class: round cells are control-like, bent ones not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

FOLDERS = ("control", "sickle_cell")
BACKGROUND, CELL = (232, 224, 228), (190, 120, 130)


def blood_picture(label: int, seed: int, side: int = 96) -> NDArray[np.uint8]:
    """uint8 RGB (side, side, 3): discs (label 0) or thin ellipses (1), places from the seed."""
    rng = np.random.default_rng([label, seed])
    picture = np.full((side, side, 3), BACKGROUND, np.uint8)
    for _ in range(7):
        x, y = (int(v) for v in rng.integers(8, side - 8, 2))
        axes = (9, 9) if label == 0 else (13, 4)
        angle = float(rng.uniform(0, 180))
        cv2.ellipse(picture, (x, y), axes, angle, 0, 360, CELL, -1, cv2.LINE_AA)
    noise = rng.normal(0, 3, picture.shape)
    return np.asarray(np.clip(picture + noise, 0, 255), np.uint8)


def draw_folders(root: Path, each: int) -> None:
    """So many pictures of each class below ``root``, four numbers a group in ``groups.csv``."""
    rows = ["file,group"]
    for label, name in enumerate(FOLDERS):
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(each):
            file = folder / f"{name}_{number:03d}.png"
            picture = blood_picture(label, number)
            assert cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            rows.append(f"{name}/{file.name},{name}-{number // 4}")
    (root / "groups.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
