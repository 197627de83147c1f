"""picamera2 on libcamera's virtual camera, for a machine that has neither a sensor nor dma-heap.

Runs inside the lab's root. What the virtual pipeline lacks is filled in here and nowhere else:
frame buffers come from memfds, the raw stream's modes from the still stream's, and starting holds
picamera2's lock, without which its event thread may look at a camera that has not started yet.
"""

from __future__ import annotations

import mmap
import os
import sys
import types
from typing import Any


def _stand_in_for_pykms() -> None:
    """picamera2 imports pykms for a preview on a screen, which nothing here opens."""

    class Names(type):
        def __getattr__(cls, name: str) -> str:
            if name.startswith("__"):
                raise AttributeError(name)
            return name

    module = types.ModuleType("pykms")
    module.PixelFormat = Names("PixelFormat", (), {})  # type: ignore[attr-defined]
    module.Card = None  # type: ignore[attr-defined]
    sys.modules["pykms"] = module


def library() -> Any:
    """The module picamera2, made to work with the virtual camera."""
    if "pykms" not in sys.modules:
        _stand_in_for_pykms()
    import libcamera
    import picamera2
    import picamera2.picamera2 as inner
    from picamera2.allocators.allocator import Allocator, Sync

    if getattr(picamera2, "_on_virtual_camera", False):
        return picamera2

    class MemfdAllocator(Allocator):  # type: ignore[misc]  # picamera2 has no types
        """Frame buffers in memory files, NV12 in two planes."""

        needs_sync = False

        def __init__(self) -> None:
            super().__init__()
            self.streams: dict[Any, list[Any]] = {}
            self.maps: list[tuple[Any, mmap.mmap]] = []
            self.files: list[int] = []
            self.sync = MemfdSync

        def allocate(self, configuration: Any, _use_case: Any) -> None:
            self.close()
            for stream in configuration:
                luma = stream.stride * stream.size.height
                buffers = []
                for number in range(stream.buffer_count):
                    file = os.memfd_create(f"frame{number}", os.MFD_CLOEXEC)
                    os.ftruncate(file, stream.frame_size)
                    planes = []
                    for offset, length in ((0, luma), (luma, stream.frame_size - luma)):
                        plane = libcamera.FrameBuffer.Plane()
                        plane.fd, plane.offset, plane.length = file, offset, length
                        planes.append(plane)
                    buffer = libcamera.FrameBuffer(planes)
                    self.files.append(file)
                    self.maps.append((buffer, mmap.mmap(file, stream.frame_size)))
                    buffers.append(buffer)
                self.streams[stream.stream] = buffers

        def buffers(self, stream: Any) -> list[Any]:
            return self.streams[stream]

        def mapped(self, buffer: Any) -> mmap.mmap:
            return next(memory for known, memory in self.maps if known == buffer)

        def close(self) -> None:
            for file in self.files:
                os.close(file)
            self.streams, self.maps, self.files = {}, [], []

    class MemfdSync(Sync):  # type: ignore[misc]
        def __init__(self, allocator: MemfdAllocator, buffer: Any, _write: bool) -> None:
            self._memory = allocator.mapped(buffer)

        def __enter__(self) -> mmap.mmap:
            return self._memory

        def __exit__(self, *_: object) -> None:
            return None

    def still_modes(self: Any) -> list[dict[str, Any]]:
        role = libcamera.StreamRole.StillCapture
        formats = self.camera.generate_configuration([role]).at(0).formats
        return [
            {"format": str(pixel_format), "size": (size.width, size.height)}
            for pixel_format in formats.pixel_formats
            for size in formats.sizes(pixel_format)
        ]

    plain_start = picamera2.Picamera2.start_

    def start_locked(self: Any) -> None:
        with self.lock:
            plain_start(self)

    picamera2.Picamera2._get_raw_modes = still_modes
    picamera2.Picamera2.start_ = start_locked
    # Opening and closing both make an allocator of this name.
    inner.DmaAllocator = MemfdAllocator
    picamera2._on_virtual_camera = True
    return picamera2
