"""Run a command on a network where every address answers to us, and tell what it tried to reach.

``unshare --net --mount python -P network_sink.py COMMAND...`` (root): all addresses of both
protocols are routed to this machine's loopback, where every packet that leaves a program is seen;
the name server is a socket here. A program finds a route, so one that asks first whether there is a
network goes on. Prints JSON: ``{"rc", "stderr", "reached": [...]}``; what is sent to the loopback
addresses themselves is no reaching out, save for questions to the name server.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress

ROUTES = (
    ("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo"),
    ("ip", "route", "add", "multicast", "224.0.0.0/4", "dev", "lo"),
)
# Where the kernel has IPv6.
ROUTE_6 = ("ip", "-6", "route", "add", "local", "::/0", "dev", "lo")
# What a name stands for here: an address that is nobody's (RFC 5737), and routed to us.
ANSWERED = "192.0.2.1"
EVERY_PROTOCOL = 3
IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
SYN, ACK = 0x02, 0x10
# An echo request; the rest of ICMP is the kernel's own.
ECHO = {ICMP: 8, ICMPV6: 128}
QUESTION_A = b"\x00\x01\x00\x01"
# Threads of libraries report at their leisure, also while the process ends.
LINGER_S = 1.0
LIMIT_S = 500


def name_asked(question: bytes) -> str:
    """The name in a DNS question (RFC 1035, 4.1.2)."""
    parts, position = [], 12
    while position < len(question) and question[position]:
        length = question[position]
        parts.append(question[position + 1 : position + 1 + length].decode("latin-1"))
        position += 1 + length
    return ".".join(parts)


def answer(question: bytes) -> bytes:
    """`ANSWERED` where an IPv4 address was asked for, else none (RFC 1035, 4.1)."""
    end = 12 + len(name_asked(question)) + 2
    asked = question[12 : end + 4]
    if question[end : end + 4] != QUESTION_A:
        return question[:2] + b"\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00" + asked
    record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + socket.inet_aton(ANSWERED)
    return question[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + asked + record


def reached_by(protocol: int, packet: bytes) -> str | None:
    """Where a packet is sent to, ``address:port tcp``; None of what reaches out to nobody.

    protocol: of Ethernet. packet: from its IP header on.
    """
    if protocol == IPV4:
        carried, target = packet[9], ipaddress.ip_address(packet[16:20])
        payload = packet[4 * (packet[0] & 15) :]
    elif protocol == IPV6:
        carried, target = packet[6], ipaddress.ip_address(packet[24:40])
        payload = packet[40:]
    else:
        return None
    if target.is_loopback:
        return None
    if carried in ECHO:
        return f"{target} ping" if payload[0] == ECHO[carried] else None
    if carried == TCP:
        if payload[13] & (SYN | ACK) != SYN:
            return None
        return f"{target}:{int.from_bytes(payload[2:4])} tcp"
    if carried == UDP:
        return f"{target}:{int.from_bytes(payload[2:4])} udp"
    # IGMP, neighbours and the like are the kernel's.
    return None


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for route in ROUTES:
        subprocess.run(route, check=True)
    subprocess.run(ROUTE_6, check=False, stderr=subprocess.DEVNULL)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as resolver:
        resolver.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        resolver.flush()
        subprocess.run(["mount", "--bind", resolver.name, "/etc/resolv.conf"], check=True)
        reached: list[str] = []
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind(("127.0.0.1", 53))
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(EVERY_PROTOCOL))

        def serve_names() -> None:
            while True:
                question, sender = names.recvfrom(4096)
                reached.append(name_asked(question))
                # Who asked may be gone.
                with suppress(OSError):
                    names.sendto(answer(question), sender)

        def watch() -> None:
            while True:
                packet, sender = wire.recvfrom(256)
                # On the loopback device each packet is seen when it leaves and when it arrives.
                if sender[2] != socket.PACKET_OUTGOING:
                    continue
                where = reached_by(sender[1], packet)
                if where is not None:
                    reached.append(where)

        for work in (serve_names, watch):
            threading.Thread(target=work, daemon=True).start()
        done = subprocess.run(
            sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=LIMIT_S
        )
        time.sleep(LINGER_S)
    told = {
        "rc": done.returncode,
        "stderr": done.stderr.decode("utf-8", "replace"),
        "reached": sorted(set(reached)),
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
