"""``python -m edgehemo_export.reference CHECKPOINTS``: models.toml anew from the records there."""

from __future__ import annotations

import argparse
import platform
from datetime import UTC, datetime
from pathlib import Path

from edgehemo.files.atomic import write_text_atomically
from edgehemo_export.reference.figures import (
    MODELS_FILE,
    as_toml,
    read_measurements,
    renewed,
    stored_record,
)


def main(checkpoints: Path) -> None:
    """Write the figures of the checkpoints in ``checkpoints`` into the reference file."""
    measurements = [
        renewed(
            item,
            stored_record(checkpoints / f"{item.checkpoint}.safetensors"),
            machine=f"{platform.machine()} workstation, CPU",
            today=datetime.now(UTC).date(),
        )
        for item in read_measurements(MODELS_FILE)
    ]
    write_text_atomically(MODELS_FILE, as_toml(measurements))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, help="folder of the checkpoints")
    main(parser.parse_args().checkpoints)
