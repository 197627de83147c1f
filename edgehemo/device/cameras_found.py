"""The cameras that are plugged into this device, by what the kernel says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgehemo.device.machine import Machine

# Video nodes of the Pi's codecs and image processors: no cameras.
_NO_CAMERA = re.compile(r"bcm2835-(codec|isp)|rpi-?hevc|rpivid|pispbe|rp1-cfe|unicam")


@dataclass(frozen=True, slots=True)
class FoundCamera:
    """One of them. source: as the device configuration names it. label: what it calls itself."""

    source: str
    label: str


def cameras_found(machine: Machine) -> list[FoundCamera]:
    """All of them: USB cameras, then those on the board's connectors."""
    usb = [FoundCamera(f"uvc:/dev/{node}", label) for node, label in usb_cameras(machine)]
    board = [
        FoundCamera(f"picamera2:{number}", sensor)
        for number, sensor in enumerate(sensors_found(machine))
    ]
    return [*usb, *board]


def usb_cameras(machine: Machine) -> list[tuple[str, str]]:
    """Device node and name of each camera; a camera's metadata node (index 1) is left out."""
    found = []
    for path in machine.glob("sys/class/video4linux/video*"):
        label = machine.text(f"sys/class/video4linux/{path.name}/name") or "unnamed"
        index = machine.text(f"sys/class/video4linux/{path.name}/index") or "0"
        if index == "0" and not _NO_CAMERA.search(label):
            found.append((path.name, label))
    return found


def sensors_found(machine: Machine) -> list[str]:
    """Image sensors on the board's connectors, as their drivers name them (``imx477``)."""
    labels = [
        machine.text(f"sys/class/video4linux/{path.name}/name") or ""
        for path in machine.glob("sys/class/video4linux/v4l-subdev*")
    ]
    return [
        label.split()[0]
        for label in labels
        if re.match(r"(imx|ov|arducam|gc|ar)\w*\d+(_\w+)? ", label + " ")
    ]
