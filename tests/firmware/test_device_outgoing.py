"""Whom a device may speak to, from its configuration."""

from __future__ import annotations

from typing import Any

import pytest

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo_firmware.outgoing import Outgoing, outgoing

NOBODY = Outgoing((), (), (), printer=False, network_time=False, addressed=False)


def device(*receivers: dict[str, Any], **kiosk: Any) -> DeviceConfiguration:
    return DeviceConfiguration.model_validate(
        {
            "schema": "edgehemo.device/1",
            "name": "x",
            "board": "raspberry_pi_5",
            "kiosk": kiosk,
            "receivers": list(receivers),
        }
    )


def receiver(name: str, kind: str, address: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "address": address}


def asked(found: DeviceConfiguration, *, network_time: bool = False, ssh: bool = False) -> Outgoing:
    return outgoing(found, network_time=network_time, ssh=ssh)


def test_a_device_that_sends_nothing_speaks_to_nobody() -> None:
    assert asked(device()) == NOBODY
    stick = receiver("stick", "folder", "label:EDGEHEMO")
    assert asked(device(stick)) == NOBODY and not NOBODY.asks_names


def test_numbers_are_reached_alone_and_names_at_their_port() -> None:
    found = asked(
        device(
            receiver("a", "mllp", "mllp://192.168.1.20"),
            receiver("b", "fhir", "https://[fd00::20]:8443/fhir"),
            receiver("c", "laboratory", "https://laboratory.example"),
            receiver("d", "mqtt", "mqtts://laboratory.example"),
        )
    )
    assert found.by_number4 == (("192.168.1.20", 2575),)
    assert found.by_number6 == (("fd00::20", 8443),)
    assert found.by_name == (443, 8883)
    assert found.asks_names and found.addressed


def test_no_name_is_asked_for_where_all_are_numbers() -> None:
    found = asked(device(receiver("a", "mllp", "mllp://192.168.1.20")))
    assert found.addressed and not found.asks_names


@pytest.mark.parametrize(
    ("found", "addressed", "asks_names"),
    [
        (asked(device(), ssh=True), True, False),
        (asked(device(), network_time=True), True, True),
        (asked(device(printer="laboratory")), True, True),
    ],
)
def test_what_else_needs_an_address(found: Outgoing, addressed: bool, asks_names: bool) -> None:
    assert (found.addressed, found.asks_names) == (addressed, asks_names)
    assert found.by_name == () and found.by_number4 == ()
