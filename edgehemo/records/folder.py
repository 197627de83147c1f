"""Where the records lie: one folder below the device's data folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgehemo.files.atomic import flush_folder
from edgehemo.records.contents import Contents

FOLDER = "records"
DATABASE = "records.sqlite3"


@dataclass(frozen=True, slots=True)
class RecordsFolder:
    """The folder of the records. path: of the folder itself; nothing is made by naming it."""

    path: Path

    @classmethod
    def below(cls, data_dir: Path) -> RecordsFolder:
        """Of a device's data folder."""
        return cls(data_dir / FOLDER)

    @property
    def database(self) -> Path:
        return self.path / DATABASE

    @property
    def contents(self) -> Contents:
        return Contents(self.path / "contents")

    @property
    def copies(self) -> Path:
        """Copies of the database that were made before a migration."""
        return self.path / "copies"

    @property
    def noted(self) -> Path:
        """What readers did while another process was writing: it is still to enter the chain."""
        return self.path / "noted"

    @property
    def lock(self) -> Path:
        return self.path / ".writer.lock"

    @property
    def clean(self) -> Path:
        """There while no process writes and the last one ended in order."""
        return self.path / ".closed"

    def exists(self) -> bool:
        """Whether there are records."""
        return self.database.is_file()

    def make(self) -> None:
        """Make the folder, to be read by its owner alone. OSError where that cannot be."""
        if self.path.is_dir():
            return
        above = self.path.parent
        missing = [folder for folder in (above, *above.parents) if not folder.exists()]
        above.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        for folder in (above, *(made.parent for made in missing)):
            if os.path.lexists(folder):
                flush_folder(folder)
