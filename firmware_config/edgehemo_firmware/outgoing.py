"""Whom a device may speak to, from its configuration: what the firewall lets out.

A receiver that is named by a number is reached there and nowhere else. One that is named by a name
is reached at its port, wherever that name leads: a name's address may change any night, and a
firewall that knew yesterday's would keep results back. Who wants it narrower gives the number.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from edgehemo.device.configuration import DeviceConfiguration

# How CUPS reaches a printer of the site's network, by IPP, the raw port and LPD; and by SNMP, with
# which it asks for paper and toner.
PRINTER_PORTS, PRINTER_STATE_PORT = (515, 631, 9100), 161


@dataclass(frozen=True, slots=True)
class Outgoing:
    """by_number4, by_number6: address and port of receivers. by_name: ports of receivers that are
    names. printer: whether reports are printed. network_time: whether the clock is set from the
    network. addressed: whether the device has an address of the site's network at all.
    """

    by_number4: tuple[tuple[str, int], ...]
    by_number6: tuple[tuple[str, int], ...]
    by_name: tuple[int, ...]
    printer: bool
    network_time: bool
    addressed: bool

    @property
    def asks_names(self) -> bool:
        """Whether something that it speaks to is named."""
        return bool(self.by_name) or self.printer or self.network_time


def outgoing(device: DeviceConfiguration, *, network_time: bool, ssh: bool) -> Outgoing:
    """Of a configuration. ssh: whether somebody may sign in from the network."""
    numbers: dict[int, set[tuple[str, int]]] = {4: set(), 6: set()}
    names: set[int] = set()
    for receiver in device.receivers:
        if not receiver.facts.schemes:
            continue
        try:
            address = ipaddress.ip_address(receiver.host.partition("%")[0])
        except ValueError:
            names.add(receiver.port)
        else:
            numbers[address.version].add((str(address), receiver.port))
    printer = device.kiosk.printer is not None
    reached = bool(names or numbers[4] or numbers[6])
    listens = device.kiosk.listen is not None
    return Outgoing(
        by_number4=tuple(sorted(numbers[4])),
        by_number6=tuple(sorted(numbers[6])),
        by_name=tuple(sorted(names)),
        printer=printer,
        network_time=network_time,
        addressed=reached or printer or network_time or listens or ssh,
    )
