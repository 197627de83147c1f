"""Run a command where nothing can be reached, and tell what it tried to reach.

``unshare --net --mount python -P network_sink.py COMMAND...`` (root): the name server is a socket
here that answers every question with this machine, whose ports 80 and 443 listen. Prints JSON:
``{"rc", "stderr", "looked_up": [...], "connected": [...]}``.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time

# Threads of libraries report at their leisure, also while the process ends.
LINGER_S = 3.0
LIMIT_S = 400


def name_asked(question: bytes) -> str:
    """The name in a DNS question (RFC 1035, 4.1.2)."""
    parts, position = [], 12
    while position < len(question) and question[position]:
        length = question[position]
        parts.append(question[position + 1 : position + 1 + length].decode("latin-1"))
        position += 1 + length
    return ".".join(parts)


def answer(question: bytes) -> bytes:
    """127.0.0.1 for whatever was asked (RFC 1035, 4.1)."""
    end = 12 + len(name_asked(question)) + 2 + 4
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01"
    return question[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question[12:end] + record


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
        resolver.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        resolver.flush()
        subprocess.run(["mount", "--bind", resolver.name, "/etc/resolv.conf"], check=True)
        looked_up: list[str] = []
        connected: list[int] = []
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind(("127.0.0.1", 53))

        def serve_names() -> None:
            while True:
                question, sender = names.recvfrom(4096)
                looked_up.append(name_asked(question))
                names.sendto(answer(question), sender)

        def serve_port(port: int) -> None:
            listener = socket.create_server(("127.0.0.1", port))
            while True:
                listener.accept()[0].close()
                connected.append(port)

        threading.Thread(target=serve_names, daemon=True).start()
        for port in (80, 443):
            threading.Thread(target=serve_port, args=(port,), daemon=True).start()
        time.sleep(0.2)
        done = subprocess.run(
            sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=LIMIT_S
        )
        time.sleep(LINGER_S)
    told = {
        "rc": done.returncode,
        "stderr": done.stderr.decode("utf-8", "replace"),
        "looked_up": looked_up,
        "connected": connected,
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
