"""What the calibration commands write: one row a schema."""

from __future__ import annotations

from edgehemo.files.json_schema import Document
from edgehemo_calibration.output import (
    AnalyserCalibrated,
    CellsDrawn,
    CheckOutput,
    ClearOutput,
    ControlCalibrated,
    FocusCalibrated,
    IlluminationCalibrated,
    RepeatabilityCalibrated,
    ScaleCalibrated,
    ShowOutput,
    StainCalibrated,
    TypesChecked,
)

DOCUMENTS = (
    Document(
        "calibrate",
        "what a calibration measured and the profile it was written to",
        (
            ScaleCalibrated,
            IlluminationCalibrated,
            StainCalibrated,
            FocusCalibrated,
            AnalyserCalibrated,
            RepeatabilityCalibrated,
            TypesChecked,
            ControlCalibrated,
        ),
    ),
    Document("cells-drawn", "red cells drawn for a person to name", (CellsDrawn,)),
    Document("check", "a check of a control slide", (CheckOutput,)),
    Document("calibration", "the calibration in force and what it is worth", (ShowOutput,)),
    Document("clear", "failed control checks cleared", (ClearOutput,)),
)
