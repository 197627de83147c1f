"""Runs inside the 64-bit ARM root: starts the kiosk, asks for its page, ends it by a signal."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
import urllib.request

process = subprocess.Popen(
    [sys.executable, "-m", "edgehemo", "kiosk", "--source", "simulated:", "--port", "0"],
    stdout=subprocess.PIPE,
    text=True,
)
assert process.stdout is not None
address = process.stdout.readline().strip().removeprefix("kiosk: ")
with urllib.request.urlopen(address, timeout=60) as answer:
    status, page = answer.status, answer.read().decode("utf-8")
process.send_signal(signal.SIGTERM)
told = {
    "machine": platform.machine(),
    "status": status,
    "page": page,
    "ended": process.wait(60),
}
print(json.dumps(told))
