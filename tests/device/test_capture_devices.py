"""The logic of the real cameras on made-up devices; real ones are a matter of tests/lab."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehemo.capture.picamera import INSTALL_HINT, PiCamera, nv12_to_rgb, to_rgb
from edgehemo.capture.protocol import Camera, CameraSettings
from edgehemo.capture.uvc import UvcCamera
from edgehemo.errors import CaptureError, MissingDependencyError, UsageError

# A red target in what OpenCV delivers: blue first.
RED_BGR = np.full((48, 64, 3), (10, 20, 200), dtype=np.uint8)


class FakeVideo:
    """A V4L2 device as OpenCV shows it."""

    def __init__(self) -> None:
        self.opens = True
        self.controls: dict[int, float] = {
            cv2.CAP_PROP_AUTO_EXPOSURE: 3.0,
            cv2.CAP_PROP_AUTO_WB: 1.0,
            cv2.CAP_PROP_EXPOSURE: 156.0,
            cv2.CAP_PROP_GAIN: 0.0,
            cv2.CAP_PROP_WB_TEMPERATURE: 4600.0,
            cv2.CAP_PROP_FRAME_WIDTH: 64.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 48.0,
        }
        self.fixed: set[int] = set()
        self.wedged = threading.Event()
        self.wake = threading.Event()
        self.plugged = True
        self.reads = 0
        self.released = 0

    def isOpened(self) -> bool:  # noqa: N802
        return self.opens

    def read(self) -> tuple[bool, Any]:
        if self.wedged.is_set():
            self.wake.wait(10)
            return False, None
        time.sleep(0.002)
        if not self.plugged:
            return False, None
        self.reads += 1
        return True, RED_BGR + np.uint8(self.reads % 7)

    def set(self, propId: int, value: float) -> bool:  # noqa: N803
        if propId not in self.controls:
            return False
        if propId not in self.fixed:
            self.controls[propId] = value
        return True

    def get(self, propId: int) -> float:  # noqa: N803
        return self.controls.get(propId, -1.0)

    def release(self) -> None:
        self.released += 1


def usb(video: FakeVideo, **options: Any) -> UvcCamera:
    return UvcCamera(
        "/dev/video9", opener=lambda _: video, exists=lambda _: video.plugged, **options
    )


def test_usb_frames_are_rgb_and_fresh() -> None:
    video = FakeVideo()
    with usb(video) as camera:
        assert isinstance(camera, Camera)
        frame = camera.frame(2)
        assert frame.pixels[0, 0, 0] >= 200 and frame.pixels[0, 0, 2] < 30
        assert frame.source == "uvc:/dev/video9"
        assert frame.timestamp is not None and frame.timestamp.tzinfo is not None
        before = video.reads
        camera.frame(2)
        assert video.reads > before
    for _ in range(200):
        if video.released:
            break
        time.sleep(0.005)
    assert video.released == 1


def test_usb_settings_are_fixed_and_read_back() -> None:
    video = FakeVideo()
    with usb(video) as camera:
        taken = camera.apply(CameraSettings(exposure_us=10_000, gain=4, white_balance_k=5200))
        assert taken == CameraSettings(exposure_us=10_000, gain=4, white_balance_k=5200)
        assert video.controls[cv2.CAP_PROP_EXPOSURE] == 100
        assert video.controls[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
        assert video.controls[cv2.CAP_PROP_AUTO_WB] == 0
        reads = video.reads
        assert camera.frame(2).metadata["exposure_us"] == 10_000
        assert video.reads >= reads + 4


def test_a_usb_setting_that_did_not_take_is_named() -> None:
    video = FakeVideo()
    video.fixed.add(cv2.CAP_PROP_EXPOSURE)
    del video.controls[cv2.CAP_PROP_GAIN]
    with usb(video) as camera:
        with pytest.raises(CaptureError) as caught:
            camera.apply(CameraSettings(exposure_us=30_000, gain=4, focus_um=1))
        assert caught.value.code == "CAMERA_SETTING_REFUSED"
        message = str(caught.value)
        assert "exposure_us was set to 30000 and reads back 15600" in message
        assert "gain cannot be set on this camera" in message
        assert "focus_um cannot be set" in message
        with pytest.raises(UsageError, match="must lie in"):
            camera.apply(CameraSettings(exposure_us=1))


@pytest.mark.parametrize(
    ("control", "stuck_at", "named"),
    [
        (cv2.CAP_PROP_AUTO_EXPOSURE, 3.0, "automatic exposure"),
        (cv2.CAP_PROP_AUTO_WB, 1.0, "automatic white balance"),
        (cv2.CAP_PROP_AUTOFOCUS, 1.0, "automatic focus"),
    ],
)
def test_an_automatic_that_stays_on_is_named(control: int, stuck_at: float, named: str) -> None:
    video = FakeVideo()
    with usb(video) as camera:
        camera.apply(CameraSettings())  # nothing asked for: the automatics go off all the same
        assert video.controls[cv2.CAP_PROP_AUTO_EXPOSURE] == 1
        video.controls[control] = stuck_at
        video.fixed.add(control)
        with pytest.raises(CaptureError, match=f"{named} cannot be switched off") as caught:
            camera.apply(CameraSettings())
        assert caught.value.code == "CAMERA_SETTING_REFUSED"


def test_a_wedged_usb_camera_keeps_the_deadline() -> None:
    video = FakeVideo()
    with usb(video) as camera:
        camera.frame(2)
        video.wedged.set()
        started = time.monotonic()
        with pytest.raises(CaptureError) as caught:
            [camera.frame(0.2) for _ in range(2)]
        assert caught.value.code == "CAMERA_TIMEOUT"
        assert time.monotonic() - started < 2
        video.wake.set()


def test_unplugging_is_told_from_silence() -> None:
    video = FakeVideo()
    with usb(video) as camera:
        camera.frame(2)
        video.plugged = False
        with pytest.raises(CaptureError) as caught:
            [camera.frame(1) for _ in range(5)]
        assert caught.value.code == "CAMERA_UNPLUGGED"
        assert "Plug the camera in again" in str(caught.value)


def test_a_usb_camera_that_is_absent_or_busy() -> None:
    video = FakeVideo()
    video.plugged = False
    with pytest.raises(CaptureError) as caught:
        usb(video).open()
    assert caught.value.code == "CAMERA_NOT_FOUND"
    video = FakeVideo()
    video.opens = False
    with pytest.raises(CaptureError, match="may be in use") as caught:
        usb(video).open()
    assert caught.value.code == "CAMERA_BUSY"
    with pytest.raises(CaptureError, match="is not open"):
        usb(FakeVideo()).frame(1)


def test_an_opening_that_hangs_keeps_its_deadline() -> None:
    wake = threading.Event()

    def hangs(_: str) -> FakeVideo:
        wake.wait(10)
        return FakeVideo()

    camera = UvcCamera("/dev/video9", opener=hangs, exists=lambda _: True, open_deadline_s=0.1)
    with pytest.raises(CaptureError) as caught:
        camera.open()
    assert caught.value.code == "CAMERA_TIMEOUT"
    wake.set()


def test_a_usb_size_or_format_that_did_not_take_is_refused() -> None:
    video = FakeVideo()
    video.fixed |= {cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT}
    with pytest.raises(CaptureError, match="1280x960 px was asked for and the camera gives 64x48"):
        usb(video, size=(1280, 960)).open()
    with pytest.raises(CaptureError, match="no format MJPG"):
        usb(FakeVideo(), fourcc="MJPG").open()


class FakePicamera2:
    """The part of picamera2.Picamera2 used, with the formats' real byte orders."""

    cameras = 1
    given_format = "RGB888"
    takes_gains = True
    dead = False
    bare = False

    @staticmethod
    def global_camera_info() -> list[dict[str, object]]:
        return [{"Model": "imx477"}] * FakePicamera2.cameras

    def __init__(self, number: int) -> None:
        self.sensor_resolution = (128, 96)
        self.metadata: dict[str, Any] = {
            "ExposureTime": 9973,
            "AnalogueGain": 1.0,
            "ColourGains": (2.0, 2.0),
        }
        # Control name to its range, as libcamera advertises them.
        self.camera_controls: dict[str, tuple[float, float, float]] = {
            "AeEnable": (0, 1, 1),
            "AwbEnable": (0, 1, 1),
            "ExposureTime": (13, 112_015_096, 20_000),
            "AnalogueGain": (1.0, 22.3, 1.0),
            "ColourGains": (0.0, 32.0, 1.0),
        }
        if self.bare:
            self.camera_controls = {}
        self.pending: list[dict[str, Any]] = []
        self.started = self.closed = self.flushed = False

    def create_still_configuration(self, **options: Any) -> dict[str, Any]:
        return options

    def configure(self, configuration: dict[str, Any]) -> None:
        # libcamera refuses a list that holds a control the camera has not.
        assert set(configuration["controls"]) <= set(self.camera_controls)
        self.configuration = configuration

    def camera_configuration(self) -> dict[str, Any]:
        size = self.configuration["main"]["size"]
        width = {"NV12": 1}.get(self.given_format, 3) * size[0]
        return {"main": {"size": size, "format": self.given_format, "stride": width + 32}}

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.started = False

    def close(self) -> None:
        self.closed = True

    def set_controls(self, controls: dict[str, Any]) -> None:
        self.pending = [{}, {}, controls]  # the sensor's delay

    def cancel_all_and_flush(self) -> None:
        self.flushed = True

    def capture_request(self, wait: bool) -> Any:
        assert not wait
        if self.pending:
            for name, value in self.pending.pop(0).items():
                if name in self.metadata and (self.takes_gains or name != "AnalogueGain"):
                    self.metadata[name] = value
        future: Future[Any] = Future()
        if not self.dead:
            future.set_result(self)
        return SimpleNamespace(get_result=lambda timeout: future.result(timeout))

    def make_buffer(self, name: str) -> NDArray[np.uint8]:
        stream = self.camera_configuration()[name]
        (width, height), stride = stream["size"], stream["stride"]
        if self.given_format == "NV12":
            return padded_nv12(width, height, stride, (200, 20, 10))
        rows = np.zeros((height, stride), dtype=np.uint8)
        rows[:, : 3 * width] = np.tile(np.array([10, 20, 200], np.uint8), width)
        return rows.reshape(-1)

    def get_metadata(self) -> dict[str, Any]:
        return dict(self.metadata)

    def release(self) -> None:
        pass


def padded_nv12(
    width: int, height: int, stride: int, rgb: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """One colour as NV12, by the formulas of JFIF written out."""
    r, g, b = rgb
    y = 0.299 * r + 0.587 * g + 0.114 * b
    cb = 128 + (b - y) / 1.772
    cr = 128 + (r - y) / 1.402
    buffer = np.zeros((height * 3 // 2, stride), dtype=np.uint8)
    buffer[:height, :width] = round(y)
    buffer[height:, :width:2] = round(cb)
    buffer[height:, 1:width:2] = round(cr)
    return buffer.reshape(-1)


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch) -> Callable[..., PiCamera]:
    def make(number: int = 0, **attributes: Any) -> PiCamera:
        for name, value in attributes.items():
            monkeypatch.setattr(FakePicamera2, name, value)
        library = SimpleNamespace(Picamera2=FakePicamera2)
        return PiCamera(number, library=lambda: library)

    return make


@pytest.mark.parametrize("given_format", ["RGB888", "NV12"])
def test_a_red_target_arrives_red(pi: Callable[..., PiCamera], given_format: str) -> None:
    with pi(given_format=given_format) as camera:
        assert isinstance(camera, Camera)
        frame = camera.frame(1)
    assert frame.pixels.shape == (48, 64, 3)
    np.testing.assert_allclose(frame.pixels[5, 5], (200, 20, 10), atol=2)
    np.testing.assert_array_equal(frame.pixels, np.broadcast_to(frame.pixels[0, 0], (48, 64, 3)))
    assert frame.metadata["exposure_us"] == 9973


def test_pi_settings_are_awaited_in_the_frames_own_metadata(pi: Callable[..., PiCamera]) -> None:
    with pi() as camera:
        taken = camera.apply(CameraSettings(exposure_us=5000, gain=2, red_gain=1.5, blue_gain=1.8))
        assert taken == CameraSettings(exposure_us=5000, gain=2, red_gain=1.5, blue_gain=1.8)
        assert camera.frame(1).metadata["gain"] == 2


def test_a_pi_setting_that_did_not_take_is_named(pi: Callable[..., PiCamera]) -> None:
    with pi(takes_gains=False) as camera:
        with pytest.raises(CaptureError, match="gain was set to 4 and reads back 1") as caught:
            camera.apply(CameraSettings(gain=4))
        assert caught.value.code == "CAMERA_SETTING_REFUSED"
        with pytest.raises(CaptureError, match="white_balance_k cannot be set"):
            camera.apply(CameraSettings(white_balance_k=5000))


def test_a_pi_camera_without_controls_opens_and_names_what_it_has_not(
    pi: Callable[..., PiCamera],
) -> None:
    with pi(bare=True) as camera:
        assert camera.frame(1).pixels.shape == (48, 64, 3)
        with pytest.raises(CaptureError, match="no control ExposureTime, AnalogueGain") as caught:
            camera.apply(CameraSettings(exposure_us=5000, gain=2))
        assert caught.value.code == "CAMERA_SETTING_REFUSED"


def test_a_silent_pi_camera_keeps_the_deadline(pi: Callable[..., PiCamera]) -> None:
    with pi(dead=True) as camera:
        with pytest.raises(CaptureError) as caught:
            camera.frame(0.05)
        assert caught.value.code == "CAMERA_TIMEOUT"


def test_a_pi_camera_that_hangs_while_opening_is_let_go_when_it_wakes() -> None:
    wake, opened = threading.Event(), threading.Event()

    class Hanging(FakePicamera2):
        def start(self) -> None:
            wake.wait(10)
            super().start()

        def close(self) -> None:
            super().close()
            opened.set()

    camera = PiCamera(0, library=lambda: SimpleNamespace(Picamera2=Hanging), open_deadline_s=0.1)
    with pytest.raises(CaptureError) as caught:
        camera.open()
    assert caught.value.code == "CAMERA_TIMEOUT"
    assert not opened.is_set()
    wake.set()
    assert opened.wait(5)


def test_pi_cameras_that_are_not_there(pi: Callable[..., PiCamera]) -> None:
    with pytest.raises(CaptureError, match=r"1 camera\(s\) are connected") as caught:
        pi(1).open()
    assert caught.value.code == "CAMERA_NOT_FOUND"
    with pytest.raises(CaptureError, match="format YUYV"):
        pi(given_format="YUYV").open()


def test_without_picamera2_the_message_says_what_to_install() -> None:
    try:
        import picamera2  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError) as caught:
            PiCamera(0).open()
        assert str(caught.value) == INSTALL_HINT
        assert "apt install python3-picamera2" in INSTALL_HINT
    else:
        pytest.skip("picamera2 is installed here")


@pytest.mark.parametrize(
    ("pixel_format", "stored"),
    [
        ("RGB888", (3, 2, 1)),
        ("BGR888", (1, 2, 3)),
        ("XRGB8888", (3, 2, 1, 255)),
        ("XBGR8888", (1, 2, 3, 255)),
    ],
)
def test_byte_orders(pixel_format: str, stored: tuple[int, ...]) -> None:
    stride = 4 * len(stored) + 5
    rows = np.zeros((2, stride), dtype=np.uint8)
    rows[:, : 4 * len(stored)] = np.tile(np.array(stored, np.uint8), 4)
    pixels = to_rgb(rows, pixel_format, 4, 2, stride)
    assert pixels.flags.c_contiguous
    assert pixels.reshape(-1, 3).tolist() == [[1, 2, 3]] * 8
    with pytest.raises(UsageError, match="YUYV"):
        to_rgb(rows, "YUYV", 4, 2, stride)


@pytest.mark.parametrize(
    "rgb", [(255, 255, 255), (0, 0, 0), (128, 128, 128), (180, 120, 170), (90, 40, 140)]
)
def test_nv12_is_full_range(rgb: tuple[int, int, int]) -> None:
    pixels = nv12_to_rgb(padded_nv12(8, 6, 16, rgb), 8, 6, 16)
    assert pixels.shape == (6, 8, 3)
    np.testing.assert_allclose(pixels.reshape(-1, 3), np.tile(rgb, (48, 1)), atol=2)
