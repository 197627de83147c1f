"""Reads the test slide by a bundle, as this device is set up.

``python -m edgehemo.published.slide_reading BUNDLE`` prints the numbers as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgehemo.api import screen_sources
from edgehemo.device.configuration import configured_by, load_device
from edgehemo.errors import EXIT_DONE, EdgeHemoError
from edgehemo.published.slide import FIELDS, INDICES, SLIDE, SlideField, SlideNumbers
from edgehemo.version import __version__


def numbers_of(bundle: Path) -> SlideNumbers:
    """The slide read in this process, as the device is set up, by a bundle."""
    chosen = load_device(None).inference
    with tempfile.TemporaryDirectory() as scratch:
        device = Path(scratch) / "device.toml"
        # Of the device itself only how its models run: no profile, no camera, no records.
        device.write_text(
            'schema = "edgehemo.device/1"\nname = "test slide"\nboard = "workstation"\n'
            f'[inference]\nruntime = "{chosen.runtime}"\nprecision = "{chosen.precision}"\n'
            f"threads = {chosen.threads}\nmemory_limit_mb = {chosen.memory_limit_mb}\n"
            f"[paths]\ndata = {json.dumps(scratch)}\n",
            encoding="utf-8",
        )
        with configured_by(device):
            record = screen_sources([SLIDE], None, bundle=bundle, fields=FIELDS).record
    indices = record["sample"]["indices"] or {}
    return SlideNumbers(
        software_version=__version__,
        fields=tuple(
            SlideField(accepted=bool(each.get("accepted")), counts=each.get("counts") or {})
            for each in record["images"]
        ),
        indices={name: float(indices[name]) for name in INDICES if indices.get(name) is not None},
    )


def main(arguments: Sequence[str]) -> int:
    """Print the numbers; an error's line where there are none."""
    try:
        numbers = numbers_of(Path(arguments[0]))
    except EdgeHemoError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(numbers.model_dump()) + "\n")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
