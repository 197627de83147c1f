"""What the C decoders of OpenCV print, caught before it reaches the user.

libjpeg, libpng, libtiff and FFmpeg report damage on stderr and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO

_DECODER_LINE = re.compile(
    rb"Corrupt JPEG data|Premature end of JPEG|libpng |Invalid SOS|Warning: unknown JFIF"
    rb"|Inconsistent progression|Unsupported marker|^\[ ?(WARN|ERROR|INFO|DEBUG)|^TIFF"
    rb"|^\[[\w,]+ @ 0x"
)
_decoding = threading.Lock()


def _scratch_file() -> BinaryIO:
    """A file of no name: in memory where the system can, so that a full disk does no harm."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("edgehemo-decoder"), "w+b")
    import tempfile  # noqa: PLC0415  nobody on Linux waits for it

    return tempfile.TemporaryFile()


@contextlib.contextmanager
def decoder_messages() -> Iterator[bytearray]:
    """Catch what the decoders print: they report damage on stderr and nowhere else.

    The C libraries write to file descriptor 2 directly, so that one is redirected, one decode at
    a time. Lines of anyone else that fall into the gap are passed on. With no usable stderr
    nothing is caught, and the structural checks of the header stand alone.
    """
    caught = bytearray()
    with _decoding, contextlib.ExitStack() as stack:
        try:
            sink = stack.enter_context(_scratch_file())
            saved = os.dup(2)
        except OSError:
            yield caught
            return
        stack.callback(os.close, saved)
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
        os.dup2(sink.fileno(), 2)
        try:
            yield caught
        finally:
            os.dup2(saved, 2)
            sink.seek(0)
            caught.extend(sink.read())
            others = b"".join(
                line
                for line in bytes(caught).splitlines(keepends=True)
                if line.strip() and not _DECODER_LINE.search(line)
            )
            if others:
                with contextlib.suppress(OSError):
                    os.write(saved, others)
