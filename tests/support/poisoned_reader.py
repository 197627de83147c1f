"""A reader on which some pictures act as broken libraries do: it crashes, hangs, or fails.

Which ones, by the digest of their bytes, says the file that EDGEHEMO_TEST_POISON names:
``{"<sha256>": "crash" | "hang" | "fail" | "once"}``.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgehemo_laboratory.archive.equipment import ReadingEquipment
from edgehemo_laboratory.archive.reader_process import ASKS, Answer, serve
from tests.support.archives import POISON_FILE


def _poisoned(equipment: ReadingEquipment, ask: Mapping[str, Any]) -> Answer:
    file = Path(os.environ[POISON_FILE])
    does = json.loads(file.read_text())
    what = does.get(ask["sha256"])
    if what == "once":
        del does[ask["sha256"]]
        file.write_text(json.dumps(does))
        what = "crash"
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "hang":
        time.sleep(600)
    if what == "fail":
        raise ZeroDivisionError("a fault of the software")
    return ASKS["field"](equipment, ask)


if __name__ == "__main__":
    serve({**ASKS, "field": _poisoned})
