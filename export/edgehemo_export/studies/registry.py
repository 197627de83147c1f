"""The studies by name: what the command line needs to know before any of them is imported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgehemo_export.studies.study import Study


@dataclass(frozen=True)
class StudyEntry:
    """name: as the command line spells it; the package of that name below this one has `STUDY` in
    its ``study.py``, the configuration is ``configs/study_NAME.toml``. says: its help.
    """

    name: str
    says: str

    def load(self) -> Study[Any]:
        """The study itself; imports what it runs on."""
        module = importlib.import_module(f"edgehemo_export.studies.{self.name}.study")
        study: Study[Any] = module.STUDY
        return study


# A row a study, and each study brings its own.
STUDIES: Mapping[str, StudyEntry] = {
    entry.name: entry
    for entry in (
        StudyEntry(
            "lateef",
            "basophil, erythroblast, myeloblast: wavelet scattering and an SVM, a CNN, ResNet-50 "
            "(Lateef et al. 2025)",
        ),
        StudyEntry(
            "remya",
            "anaemia-like against control-like pictures: ResNet18 and four other networks under "
            "one protocol (Remya et al. 2026)",
        ),
        StudyEntry(
            "yang",
            "HGB, HCT and RBC from fields of a smear: ResNet18, folds by patient "
            "(Yang et al. 2025)",
        ),
    )
}
