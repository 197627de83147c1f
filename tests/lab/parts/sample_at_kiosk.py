"""A sample from its number to its signature at a kiosk that keeps its data in FOLDER.

``sample_at_kiosk.py FOLDER``
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.kiosk_by_forms import KioskForms
from tests.support.kiosk_by_touch import KioskServer


def main() -> int:
    """The kiosk's exit code after its signal."""
    kiosk = KioskServer(Path(sys.argv[1]))
    with kiosk.running(), KioskForms(kiosk) as forms:
        forms.to_capture("26-0417")
        forms.wait("result", timeout_s=200)
        forms.review_all()
        forms.sign()
        return kiosk.stop()


if __name__ == "__main__":
    sys.exit(main())
