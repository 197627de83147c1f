"""Debian's Mosquitto on a port of its own, and clients that write to it and listen."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
PASSWORDS = shutil.which("mosquitto_passwd")
needs_broker = pytest.mark.skipif(
    MOSQUITTO is None, reason="Mosquitto is not installed (apt-get install mosquitto)"
)


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.05)


@dataclass
class Broker:
    """folder: of its files. lines: of its configuration beside where it listens. users: name ->
    password; without any everybody may come.
    """

    folder: Path
    lines: Sequence[str] = ()
    users: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; after a kill on the port it had."""
        assert MOSQUITTO is not None
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                self.port = taken.getsockname()[1]
        configuration = self.folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", *self.lines]
        if self.users:
            assert PASSWORDS is not None
            passwords = self.folder / "passwords"
            passwords.write_text("".join(f"{name}:{word}\n" for name, word in self.users.items()))
            subprocess.run([PASSWORDS, "-U", str(passwords)], check=True)
            # It gives up root's rights before it reads them.
            passwords.chmod(0o644)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        else:
            lines.append("allow_anonymous true")
        configuration.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(configuration)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until(self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self) -> None:
        """As a power cut ends it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def address(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def _client(self, user: str | None) -> Client:
        client = Client(CallbackAPIVersion.VERSION2)
        if user is not None:
            client.username_pw_set(user, self.users[user])
        return client

    def says(self, topic: str, payload: bytes, *, user: str | None = None) -> None:
        """Somebody writes, retained, as a kiosk does."""
        client = self._client(user)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            client.publish(topic, payload, qos=1, retain=True).wait_for_publish(10)
        finally:
            client.disconnect()
            client.loop_stop()

    def retained(self, *, user: str | None = None) -> dict[str, Any]:
        """What somebody who asks now is told, by topic."""
        came: dict[str, Any] = {}
        client, asked = self._client(user), threading.Event()
        client.on_message = lambda _, __, message: came.update(
            {message.topic: json.loads(message.payload)}
        )

        def connected(*_: object) -> None:
            client.subscribe("edgehemo/#", qos=1)

        client.on_connect = connected
        client.on_subscribe = lambda *_: asked.set()
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            assert asked.wait(10)
            time.sleep(0.2)
        finally:
            client.disconnect()
            client.loop_stop()
        return came


@contextlib.contextmanager
def broker(folder: Path, *lines: str, **users: str) -> Iterator[Broker]:
    made = Broker(folder, lines, users)
    made.start()
    try:
        yield made
    finally:
        made.kill()
