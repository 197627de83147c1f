"""A device's firewall in a network of its own: who gets out, and who gets in."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgehemo_firmware import layout
from edgehemo_firmware.composing import compose
from edgehemo_firmware.installed import Choices
from edgehemo_firmware.parts import read_parts
from edgehemo_firmware.written_files import Case, rendered
from tests.lab.debian import need_tools

pytestmark = pytest.mark.lab

PARTS = ("raspberry_pi_5", "hq_camera", "touch_7_800x480")
# The device, the laboratory, and somebody else in the same network.
DEVICE, LABORATORY, STRANGER = "10.98.0.1", "10.98.0.2", "10.98.0.3"
LABORATORY_6 = "fd98::2"
PORTS = (22, 53, 443, 631, 2575, 8443, 9100)
SERVICE, BROWSER, ROOT = (*layout.USER_NUMBERS.values(), 0)
PYTHON = ("/usr/bin/python3", "-I", "-c")
SITE = f"""schema = "edgehemo.device-part/1"
kind = "site"
title = "two receivers by number, one by name"
[[device.receivers]]
name = "a"
kind = "mllp"
address = "mllp://{LABORATORY}:2575"
[[device.receivers]]
name = "b"
kind = "fhir"
address = "https://[{LABORATORY_6}]:8443/fhir"
[[device.receivers]]
name = "c"
kind = "laboratory"
address = "https://laboratory.example"
"""
# Listens at each port until it is ended.
_ANSWERS = """
import socket, sys, time
open_ = [socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
         for port in sys.argv[1:]]
print("ready", flush=True)
time.sleep(600)
"""
_ASKS = """
import os, socket, sys
user, address, *ports = sys.argv[1:]
os.setgid(int(user))
os.setuid(int(user))
for port in map(int, ports):
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError as error:
        print(port, error, file=sys.stderr)
    else:
        print(port)
"""


@dataclass(frozen=True)
class Network:
    """Two namespaces with a wire between them: the device's and all others'."""

    device: str
    others: str

    def run(self, where: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", where, *command], capture_output=True, text=True, check=False
        )

    def reached(self, where: str, user: int, address: str, ports: Sequence[int]) -> list[int]:
        """At which ports of an address a user there gets a connection."""
        done = self.run(where, *PYTHON, _ASKS, str(user), address, *map(str, ports))
        assert done.returncode == 0, done.stderr
        return [int(port) for port in done.stdout.split()]

    def shut(self, folder: Path, *parts: str, ssh: bool = False) -> None:
        """Have the device's firewall in force, as its service loads it."""
        composed = compose(read_parts((*PARTS, *parts)))
        case = Case(composed.device, Choices(parts=PARTS, ssh=ssh))
        (text,) = (text for row, text in rendered(case) if row.path.endswith("/firewall.nft"))
        file = folder / "firewall.nft"
        file.write_text(text)
        done = self.run(self.device, "nft", "-f", str(file))
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def network() -> Iterator[Network]:
    need_tools(ip="iproute2", nft="nftables")
    mark = uuid.uuid4().hex[:6]
    made = Network(f"edgehemo-{mark}", f"others-{mark}")
    wire = (f"d{mark}", f"o{mark}")

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    try:
        for name in (made.device, made.others):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", wire[0], "netns", made.device, "type", "veth", "peer", "name", wire[1],
           "netns", made.others)  # fmt: skip
        addresses = {
            (made.device, wire[0]): (f"{DEVICE}/24", "fd98::1/64"),
            (made.others, wire[1]): (f"{LABORATORY}/24", f"{STRANGER}/24", f"{LABORATORY_6}/64"),
        }
        for (name, end), found in addresses.items():
            for address in found:
                extra = ["nodad"] if ":" in address else []
                ip("-n", name, "address", "add", address, "dev", end, *extra)
            ip("-n", name, "link", "set", end, "up")
    except (OSError, subprocess.CalledProcessError) as error:
        _gone(made)
        pytest.skip(f"no network of its own can be made here: {error}")
    servers = [serve(name) for name in (made.device, made.others)]
    try:
        yield made
    finally:
        for server in servers:
            server.kill()
            server.wait()
        _gone(made)


def _gone(made: Network) -> None:
    for name in (made.device, made.others):
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def serve(where: str) -> subprocess.Popen[str]:
    """Somebody there who answers at every port."""
    command = ["ip", "netns", "exec", where, *PYTHON, _ANSWERS, *map(str, PORTS)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None and server.stdout.readline() == "ready\n"
    return server


def reached(network: Network, user: int, address: str, ports: Sequence[int] = PORTS) -> list[int]:
    """At which ports a user of the device gets out to an address."""
    return network.reached(network.device, user, address, ports)


def let_in(network: Network, ports: Sequence[int] = PORTS) -> list[int]:
    return network.reached(network.others, ROOT, DEVICE, ports)


def test_a_device_that_sends_nothing_reaches_nobody(network: Network, tmp_path: Path) -> None:
    assert reached(network, SERVICE, LABORATORY) == list(PORTS), "the wire is there"
    assert let_in(network) == list(PORTS)
    network.shut(tmp_path)
    for user in (SERVICE, ROOT):
        assert reached(network, user, LABORATORY, (53, 443)) == []
        assert reached(network, user, LABORATORY_6, (443,)) == []
    assert reached(network, BROWSER, "127.0.0.1", (443,)) == [443]
    assert let_in(network, (22, 443)) == []


def test_only_receivers_are_reached_and_only_by_the_service(
    network: Network, tmp_path: Path
) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE)
    network.shut(tmp_path, str(site))
    # 53: names are asked for; 443: the receiver by name, wherever it leads.
    assert reached(network, SERVICE, LABORATORY) == [53, 443, 2575]
    assert reached(network, SERVICE, STRANGER) == [53, 443]
    assert reached(network, SERVICE, LABORATORY_6) == [53, 443, 8443]
    assert reached(network, ROOT, LABORATORY, (2575,)) == [2575]
    assert reached(network, BROWSER, LABORATORY, (443, 2575)) == []
    assert let_in(network, (22, 443, 2575)) == []


def test_somebody_signs_in_and_is_answered(network: Network, tmp_path: Path) -> None:
    network.shut(tmp_path, ssh=True)
    assert let_in(network, (22, 443)) == [22]
    assert reached(network, ROOT, LABORATORY, (53, 443)) == []


def test_a_printer_is_reached(network: Network, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        'schema = "edgehemo.device-part/1"\nkind = "site"\ntitle = "x"\n'
        '[device.kiosk]\nprinter = "laboratory"\n'
    )
    network.shut(tmp_path, str(site))
    assert reached(network, ROOT, LABORATORY) == [53, 631, 9100]
    assert let_in(network, (22, 631)) == []
