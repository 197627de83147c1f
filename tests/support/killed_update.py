"""Updates, proves or goes back, and is killed once a step is done: the plug pulled there.

python -m tests.support.killed_update ROOT update|confirm|roll-back STEP [MEDIA]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from edgehemo_firmware.update import installing
from tests.support.media import TARGET, place_in


def main() -> None:
    root, what, last, *media = sys.argv[1:]

    def stop(step: str) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    changing = installing.Changing(place_in(Path(root)), TARGET, on_step=stop)
    if what == "update":
        installing.update(changing, Path(media[0]))
    elif what == "confirm":
        installing.confirm(changing)
    else:
        installing.roll_back(changing)


if __name__ == "__main__":
    main()
