"""Files for Grafana and Prometheus that go with the laboratory's metrics."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from edgehemo.files.atomic import write_text_atomically
from edgehemo_laboratory.errors import LaboratoryError

GRAFANA = "edgehemo-grafana.json"
ALERTS = "edgehemo-alerts.yml"


def text_of(name: str) -> str:
    """What one of the files holds."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def write_dashboards(folder: Path, *, force: bool = False) -> list[Path]:
    """Write both into a folder; where they are. force: also over files that are different there.
    LaboratoryError where that is not asked for, or nothing can be written.
    """
    files = {folder / name: text_of(name) for name in (GRAFANA, ALERTS)}
    try:
        for path, text in files.items():
            if not force and path.exists() and path.read_bytes() != text.encode():
                raise LaboratoryError(f"{path}: is there and different; --force writes over it")
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            write_text_atomically(path, text)
    except OSError as error:
        raise LaboratoryError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return list(files)
