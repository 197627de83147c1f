"""Runs inside the 64-bit ARM guest: `edgehemo verify` on the bundle beside it, as on a device."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
os.environ["EDGEHEMO_KEYS"] = str(SOURCE / "keys")
os.environ["HOME"] = "/root"

from edgehemo.cli import run  # noqa: E402

print("MACHINE", platform.machine(), flush=True)
code = run(["verify", str(SOURCE / "bundle"), "--json", str(SOURCE / "verify.json")])
print("VERIFIED " + " ".join((SOURCE / "verify.json").read_text().split()), flush=True)
sys.exit(code)
