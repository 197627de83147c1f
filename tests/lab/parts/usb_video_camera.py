"""A USB camera in user space that the kernel's own uvcvideo driver takes for a real one.

USB/IP requests arrive from the kernel's vhci_hcd over a socket; this answers as a device of the
USB Video Class 1.1 does: descriptors, controls (exposure, gain, white balance, which act on the
picture) and MJPEG frames over a bulk endpoint. What it can do wrong on purpose: stop sending
(`wedged`), repeat one frame (`moving` off), and be unplugged.

It runs in a process of its own, `main`, driven by `CameraProcess`: were it a thread of the program
that reads the camera, that program's end would leave the kernel waiting for its answer for ever.

Sources: USB 2.0 specification, chapter 9; USB Device Class Definition for Video Devices 1.1;
Documentation/usb/usbip_protocol.rst of the Linux kernel.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 480
FRAMES_PER_S = 15
MAX_PAYLOAD = 16_384
MAX_FRAME_BYTES = WIDTH * HEIGHT * 2
NAME = "Fake UVC microscope"
PORTS = Path("/sys/devices/platform/vhci_hcd.0")

# Entity numbers of the video function, and control selectors of UVC 1.1, tables.
CAMERA_TERMINAL, PROCESSING_UNIT = 1, 2
AUTO_EXPOSURE_MODE, EXPOSURE_TIME = (CAMERA_TERMINAL, 0x02), (CAMERA_TERMINAL, 0x04)
BRIGHTNESS, GAIN = (PROCESSING_UNIT, 0x02), (PROCESSING_UNIT, 0x04)
WHITE_BALANCE, AUTO_WHITE_BALANCE = (PROCESSING_UNIT, 0x0A), (PROCESSING_UNIT, 0x0B)
MANUAL_EXPOSURE = 1
NEUTRAL_EXPOSURE, NEUTRAL_GAIN, NEUTRAL_KELVIN = 156, 10, 4600

# Class requests, UVC 1.1 table A-8.
SET_CUR, GET_CUR, GET_MIN, GET_MAX, GET_RES, GET_LEN, GET_INFO, GET_DEF = (
    0x01, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
)  # fmt: skip
# USB/IP commands and answers.
CMD_SUBMIT, CMD_UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
STALLED, CANCELLED = -32, -104


@dataclass
class Control:
    """One control: its bytes, range, step, default, and the value it has now."""

    size: int
    low: int
    high: int
    step: int
    default: int
    value: int = field(init=False)

    def __post_init__(self) -> None:
        self.value = self.default


def default_controls() -> dict[tuple[int, int], Control]:
    return {
        AUTO_EXPOSURE_MODE: Control(1, 1, 8, 9, 8),
        EXPOSURE_TIME: Control(4, 1, 5000, 1, NEUTRAL_EXPOSURE),
        BRIGHTNESS: Control(2, 0, 255, 1, 128),
        GAIN: Control(2, 0, 100, 1, NEUTRAL_GAIN),
        WHITE_BALANCE: Control(2, 2800, 6500, 10, NEUTRAL_KELVIN),
        AUTO_WHITE_BALANCE: Control(1, 0, 1, 1, 1),
    }


def _described(*parts: bytes) -> bytes:
    """A descriptor: its length before what it says."""
    body = b"".join(parts)
    return bytes([len(body) + 1]) + body


def _u16(value: int) -> bytes:
    return struct.pack("<H", value)


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def device_descriptor() -> bytes:
    return _described(
        b"\x01", _u16(0x0200), bytes([0xEF, 2, 1, 64]),
        _u16(0x1D6B), _u16(0x0102), _u16(0x0100), bytes([1, 2, 3, 1]),
    )  # fmt: skip


def configuration_descriptor(interval_100ns: int) -> bytes:
    """One video function: camera terminal, processing unit, output; one MJPEG frame size."""
    camera = _described(
        bytes([0x24, 2, CAMERA_TERMINAL]), _u16(0x0201), bytes([0, 0]), _u16(0) * 3,
        bytes([3, 0x0A, 0, 0]),
    )  # fmt: skip
    processing = _described(
        bytes([0x24, 5, PROCESSING_UNIT, CAMERA_TERMINAL]), _u16(0), bytes([2, 0x41, 0x12, 0])
    )
    output = _described(bytes([0x24, 3, 3]), _u16(0x0101), bytes([0, PROCESSING_UNIT, 0]))
    units = camera + processing + output
    head_length = 13
    head = _described(
        bytes([0x24, 1]), _u16(0x0100), _u16(head_length + len(units)), _u32(48_000_000),
        bytes([1, 1]),
    )  # fmt: skip
    mjpeg = _described(bytes([0x24, 6, 1, 1, 1, 1, 0, 0, 0, 0]))
    frame = _described(
        bytes([0x24, 7, 1, 0]), _u16(WIDTH), _u16(HEIGHT), _u32(1_000_000), _u32(80_000_000),
        _u32(MAX_FRAME_BYTES), _u32(interval_100ns), bytes([1]), _u32(interval_100ns),
    )  # fmt: skip
    colour = _described(bytes([0x24, 0x0D, 1, 1, 4]))
    formats = mjpeg + frame + colour
    input_length = 14
    stream = _described(
        bytes([0x24, 1, 1]), _u16(input_length + len(formats)),
        bytes([0x81, 0, 3, 0, 0, 0, 1, 0]),
    )  # fmt: skip
    endpoint = _described(bytes([5, 0x81, 2]), _u16(512), b"\x00")
    function = _described(bytes([0x0B, 0, 2, 0x0E, 3, 0, 2]))
    control_interface = _described(bytes([4, 0, 0, 0, 0x0E, 1, 0, 2]))
    stream_interface = _described(bytes([4, 1, 0, 1, 0x0E, 2, 0, 0]))
    body = (
        function + control_interface + head + units + stream_interface + stream + formats + endpoint
    )
    configuration_length = 9
    return (
        _described(b"\x02", _u16(configuration_length + len(body)), bytes([2, 1, 0, 0x80, 250]))
        + body
    )


class UsbCamera:
    """The camera. picture: uint8 BGR (HEIGHT, WIDTH, 3), what it looks at at neutral settings.

    light: a factor on the picture. moving: draws a mark that wanders along the upper edge, as a
    live picture never repeats. log: every control that was set, (entity, selector, value). wedged:
    takes requests and sends no frame.
    """

    def __init__(self, picture: NDArray[np.uint8], frames_per_s: float = FRAMES_PER_S) -> None:
        self.picture = picture
        self._interval_100ns = round(1e7 / frames_per_s)
        self.light = 1.0
        self.moving = True
        self.wedged = False
        self.controls = default_controls()
        self.log: list[tuple[int, int, int]] = []
        self._device = device_descriptor()
        self._configuration = configuration_descriptor(self._interval_100ns)
        self._strings = {1: "edgehemo", 2: NAME, 3: "0001"}
        self._probe = struct.pack(
            "<HBBIHHHHHII",
            1, 1, 1, self._interval_100ns, 0, 0, 0, 0, 0, MAX_FRAME_BYTES, MAX_PAYLOAD,
        )  # fmt: skip
        self._waiting: list[tuple[int, int]] = []
        self._encoded = b""
        self._sent = 0
        self._toggle = 0
        self._next_frame_at = 0.0
        self._frames = 0

    def frame(self) -> bytes:
        """One JPEG, as exposure, gain and white balance make it."""
        controls = self.controls
        factor, cast = 1.0, 0.0
        if controls[AUTO_EXPOSURE_MODE].value == MANUAL_EXPOSURE:
            exposure = controls[EXPOSURE_TIME].value / NEUTRAL_EXPOSURE
            factor = exposure * (100 + controls[GAIN].value) / (100 + NEUTRAL_GAIN)
        if not controls[AUTO_WHITE_BALANCE].value:
            cast = 0.3 * (controls[WHITE_BALANCE].value - NEUTRAL_KELVIN) / NEUTRAL_KELVIN
        gains = self.light * factor * np.array([1 - cast, 1, 1 + cast], np.float32)
        picture = np.clip(self.picture * gains, 0, 255).astype(np.uint8)
        self._frames += 1
        if self.moving:
            place = 8 * (self._frames % 64)
            picture[:8, place : place + 8] = 90
        return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()

    def answer(self, setup: bytes, data: bytes) -> bytes | None:
        """The answer to a request on the control pipe; None stalls it."""
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        if kind == 0x80 and request == 6:
            return self._descriptor(value >> 8, value & 0xFF, length)
        if kind in (0x80, 0x81, 0x82) and request == 0:
            return b"\x00\x00"[:length]
        if kind in (0x00, 0x01, 0x02):
            return b""
        if kind not in (0x21, 0xA1):
            return None
        if index & 0xFF == 1:
            return self._stream_control(value >> 8, request, length)
        return self._unit_control((index >> 8, value >> 8), request, data, length)

    def _descriptor(self, kind: int, number: int, length: int) -> bytes | None:
        if kind == 1:
            return self._device[:length]
        if kind == 2:
            return self._configuration[:length]
        if kind != 3:
            return None
        text = b"\x09\x04" if number == 0 else self._strings.get(number, "?").encode("utf-16le")
        return (bytes([len(text) + 2, 3]) + text)[:length]

    def _stream_control(self, selector: int, request: int, length: int) -> bytes | None:
        if selector not in (1, 2):
            return None
        if request == SET_CUR:
            if selector == 2:  # commit: streaming begins with a whole frame
                self._encoded, self._sent = b"", 0
            return b""
        if request == GET_INFO:
            return b"\x03"
        if request == GET_LEN:
            return _u16(len(self._probe))
        return self._probe[:length]

    def _unit_control(
        self, place: tuple[int, int], request: int, data: bytes, length: int
    ) -> bytes | None:
        if place[0] == 0:
            return {GET_CUR: b"\x00", GET_INFO: b"\x01"}.get(request)
        control = self.controls.get(place)
        if control is None:
            return None
        if request == SET_CUR:
            control.value = int.from_bytes(data[: control.size], "little")
            self.log.append((*place, control.value))
            return b""
        if request == GET_INFO:
            return b"\x03"
        if request == GET_LEN:
            return _u16(control.size)
        told = {
            GET_CUR: control.value, GET_MIN: control.low, GET_MAX: control.high,
            GET_RES: control.step, GET_DEF: control.default,
        }.get(request)  # fmt: skip
        return None if told is None else told.to_bytes(control.size, "little")[:length]

    def serve(self, line: socket.socket) -> None:
        """Answer the kernel until it closes the line."""
        try:
            while True:
                if select.select([line], [], [], self._patience())[0]:
                    self._take(line)
                elif self._waiting and not self.wedged:
                    self._send_part(line)
        except (EOFError, OSError):
            return

    def _patience(self) -> float:
        if not self._waiting or self.wedged:
            return 0.2
        return 0.0 if self._encoded else max(0.0, self._next_frame_at - time.monotonic())

    def _take(self, line: socket.socket) -> None:
        header = _received(line, 48)
        command, number, _, inward, endpoint = struct.unpack(">IIIII", header[:20])
        if command == CMD_SUBMIT:
            (length,) = struct.unpack(">I", header[24:28])
            data = _received(line, length) if not inward and length else b""
            if endpoint != 0:
                self._waiting.append((number, length))
                return
            answer = self.answer(header[40:48], data)
            if answer is None:
                _return(line, number, STALLED)
            elif inward:
                _return(line, number, 0, answer)
            else:
                _return(line, number, 0, taken=length)
        elif command == CMD_UNLINK:
            (unlinked,) = struct.unpack(">I", header[20:24])
            known = [item for item in self._waiting if item[0] == unlinked]
            for item in known:
                self._waiting.remove(item)
            status = CANCELLED if known else 0
            line.sendall(struct.pack(">IIIIIi", RET_UNLINK, number, 0, 0, 0, status) + bytes(24))

    def _send_part(self, line: socket.socket) -> None:
        """The next payload of the present frame: a two-byte header and a piece of the JPEG."""
        if not self._encoded:
            if time.monotonic() < self._next_frame_at:
                return
            self._encoded, self._sent = self.frame(), 0
            self._toggle ^= 1
            self._next_frame_at = time.monotonic() + self._interval_100ns / 1e7
        number, length = self._waiting.pop(0)
        piece = self._encoded[self._sent : self._sent + min(length, MAX_PAYLOAD) - 2]
        self._sent += len(piece)
        last = self._sent >= len(self._encoded)
        _return(line, number, 0, bytes([2, 0x80 | self._toggle | (2 if last else 0)]) + piece)
        if last:
            self._encoded = b""


class CameraProcess:
    """The camera in its own process: plug it in, spoil it, pull it out."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, command: str, **values: Any) -> Any:
        """One of the commands of `main`; returns its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **values}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def main() -> None:
    """Take commands on standard input, one JSON object a line, and answer each with one.

    ``plug`` a new camera that looks at four ``quarters`` (RGB); ``unplug``; ``set`` wedged, moving
    or light (a factor on the picture); ``log`` the controls that were set.
    """
    camera = UsbCamera(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    for line in sys.stdin:
        command = json.loads(line)
        answer: Any = None
        if command["do"] == "plug":
            camera = UsbCamera(quartered(command["quarters"]))
            plug(camera)
        elif command["do"] == "unplug":
            unplug()
        elif command["do"] == "set":
            camera.wedged = command.get("wedged", camera.wedged)
            camera.moving = command.get("moving", camera.moving)
            camera.light = command.get("light", camera.light)
        elif command["do"] == "log":
            answer = sorted(set(camera.log))
        print(json.dumps(answer), flush=True)


def quartered(quarters: list[list[int]]) -> NDArray[np.uint8]:
    """BGR, as the camera's sensor sees it: four quarters of one RGB colour each."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for place, colour in enumerate(quarters):
        row, column = divmod(place, 2)
        top, left = row * HEIGHT // 2, column * WIDTH // 2
        picture[top : top + HEIGHT // 2, left : left + WIDTH // 2] = colour[::-1]
    return picture


def plug(camera: UsbCamera, port: int = 0) -> None:
    """Plug the camera into a port of the virtual hub; a thread serves it."""
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    high_speed = 3
    device_id = 1 << 16 | 2
    (PORTS / "attach").write_text(f"{port} {kernel.fileno()} {device_id} {high_speed}")
    kernel.close()
    threading.Thread(target=camera.serve, args=(ours,), daemon=True).start()


def unplug(port: int = 0) -> None:
    (PORTS / "detach").write_text(str(port))


def node(timeout_s: float = 30.0) -> str:
    """The /dev/videoN that the driver made for the camera."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        for folder in sorted(Path("/sys/class/video4linux").glob("video*")):
            named = NAME in (folder / "name").read_text()
            if named and (folder / "index").read_text().strip() == "0":
                return f"/dev/{folder.name}"
        time.sleep(0.1)
    raise TimeoutError("the kernel made no video device for the camera")


def _received(line: socket.socket, length: int) -> bytes:
    parts = b""
    while len(parts) < length:
        part = line.recv(length - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts


def _return(
    line: socket.socket, number: int, status: int, data: bytes = b"", *, taken: int | None = None
) -> None:
    length = len(data) if taken is None else taken
    head = struct.pack(">IIIIIiIIIII", RET_SUBMIT, number, 0, 0, 0, status, length, 0, 0, 0, 0)
    line.sendall(head + bytes(48 - len(head)) + data)


if __name__ == "__main__":
    main()
