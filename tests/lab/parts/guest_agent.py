"""Runs inside the emulated machine, as root: does what the lab asks over a serial line.

``guest_agent.py LINE``. One JSON object a line each way: ``run`` a program, or pass a request on to
a server of the machine's own loopback, as a browser there would. So the lab needs no network in it.
The system's Python alone is used; an answer carries the number of what was asked.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
import time
from typing import Any

LOOPBACK = "127.0.0.1"
# While nobody is at the other end there is nothing to read.
IDLE_S = 0.2


def done(asked: dict[str, Any]) -> dict[str, Any]:
    """What came of one request."""
    limit_s = float(asked["limit_s"])
    if "run" in asked:
        ended = subprocess.run(
            asked["run"],
            input=asked.get("given", "").encode(),
            capture_output=True,
            timeout=limit_s,
        )
        out, err = (part.decode("utf-8", "replace") for part in (ended.stdout, ended.stderr))
        return {"rc": ended.returncode, "out": out, "err": err}
    line = http.client.HTTPConnection(LOOPBACK, int(asked["port"]), timeout=limit_s)
    try:
        line.request(
            asked["method"], asked["path"], base64.b64decode(asked["body"]), dict(asked["headers"])
        )
        answer = line.getresponse()
        body = base64.b64encode(answer.read()).decode("ascii")
        return {"status": answer.status, "headers": answer.getheaders(), "body": body}
    finally:
        line.close()


def main() -> None:
    """Serve for ever."""
    line = os.open(sys.argv[1], os.O_RDWR)
    waiting = b""
    while True:
        part = os.read(line, 65_536)
        if not part:
            time.sleep(IDLE_S)
            continue
        *asked, waiting = (waiting + part).split(b"\n")
        for text in asked:
            number = 0
            try:
                request = json.loads(text)
                number = request["number"]
                answer = done(request)
            except (OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
            except (ValueError, KeyError):
                # The rest of something that was asked before this machine started again.
                continue
            content = json.dumps({"number": number, **answer}).encode() + b"\n"
            while content:
                content = content[os.write(line, content) :]


if __name__ == "__main__":
    main()
