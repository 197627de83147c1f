"""The work and the memory a file may cost, and the process that risky ones are decoded in."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehemo.errors import ImageError
from edgehemo.images import worker
from edgehemo.images.reading import decode_frame, picture_of, read_frame
from edgehemo.images.worker import DecodingProcess
from tests.support.tiff import DEFLATE, LZW, NONE, PACKBITS, Page, page_of, tiff


def picture(height: int = 60, width: int = 80) -> np.ndarray:
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 255, (8, 10, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def process() -> Iterator[DecodingProcess]:
    process = DecodingProcess()
    yield process
    process.close()


def pid_of(process: DecodingProcess) -> int:
    assert process._child is not None
    return process._child.pid


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_frame(data, "x")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose smallest scan comes again and again."""
    jpeg = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    starts = [place for place in range(len(jpeg)) if jpeg.startswith(b"\xff\xda", place)]
    scans = [jpeg[a:b] for a, b in zip(starts, [*starts[1:], len(jpeg) - 2], strict=True)]
    return jpeg[:-2] + min(scans, key=len) * count + b"\xff\xd9"


def test_the_scans_of_a_jpeg_are_counted_before_it_is_decoded() -> None:
    started = time.monotonic()
    assert "is a JPEG of 5010 scans" in refusal(many_scans(5000))
    assert time.monotonic() - started < 1.0


def test_what_a_tiff_takes_is_bounded_before_it_is_decoded() -> None:
    """747 kB that took 1.6 GB: 64 million pixels of four 16-bit channels, all black."""
    side = 8000
    coded = zlib.compress(bytes(side * side * 8), 9)
    tags = {256: side, 257: side, 278: side, 338: 2}
    data = tiff([page_of(np.zeros((1, 1, 4), np.uint16), compression=DEFLATE, tags=tags,
                         strips=[coded])])  # fmt: skip
    assert len(data) < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "takes 512 MB when it is decoded" in refusal(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_strip_longer_than_the_picture_is_not_unpacked() -> None:
    page = page_of(picture(), compression=DEFLATE, strips=[zlib.compress(bytes(400_000_000), 9)])
    assert "damaged" in refusal(tiff([page]))


def test_sixteen_bit_png_is_bounded_too() -> None:
    data = bytearray(cv2.imencode(".png", picture().astype(np.uint16))[1].tobytes())
    data[16:24] = struct.pack(">II", 8000, 8000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    assert "takes 384 MB" in refusal(bytes(data))


def test_other_jpegs_are_named() -> None:
    jpeg = bytearray(cv2.imencode(".jpg", picture())[1].tobytes())
    frame = jpeg.index(b"\xff\xc0")
    for place, value, said in ((1, 0xC3, "lossless"), (4, 12, "12 bits"), (9, 2, "2 channels")):
        other = bytearray(jpeg)
        other[frame + place] = value
        assert said in refusal(bytes(other))


def test_ordinary_pictures_stay_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(*_: object, **__: object) -> None:
        raise AssertionError("decoded in another process")

    monkeypatch.setattr(worker.PROCESS, "decode", apart)
    pixels = picture()
    for data in (
        cv2.imencode(".jpg", pixels)[1].tobytes(),
        cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        cv2.imencode(".png", pixels)[1].tobytes(),
        cv2.imencode(".bmp", pixels)[1].tobytes(),
    ):
        assert decode_frame(data, "x").height == 60
    for data in (cv2.imencode(".tif", pixels)[1].tobytes(), many_scans(15)):
        with pytest.raises(AssertionError, match="another process"):
            decode_frame(data, "x")


def test_one_process_for_many_files(process: DecodingProcess) -> None:
    first = tiff([page_of(picture()), page_of(picture()[::-1])])
    pixels, bits = process.decode(first, 0)
    pid = pid_of(process)
    np.testing.assert_array_equal(pixels, picture())
    assert bits == 8
    np.testing.assert_array_equal(process.decode(first, 1)[0], picture()[::-1])
    with pytest.raises(ImageError, match="damaged"):
        process.decode(tiff([page_of(picture(), compression=LZW, strips=[bytes(99)])]), 0)
    np.testing.assert_array_equal(process.decode(first, 0)[0], picture())
    assert pid_of(process) == pid


def test_a_process_that_ended_meanwhile_is_replaced(process: DecodingProcess) -> None:
    data = tiff([page_of(picture())])
    process.decode(data, 0)
    pid = pid_of(process)
    os.kill(pid, signal.SIGKILL)
    np.testing.assert_array_equal(process.decode(data, 0)[0], picture())
    assert pid_of(process) != pid


def test_a_picture_that_breaks_the_decoder_is_one_line(
    process: DecodingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiff([page_of(picture())])
    process.decode(data, 0)
    kill = f"import os; os.write(1, b'{{}}\\n'); os.read(0, 9); os._exit(139); # {worker.__name__}"
    real = subprocess.Popen

    def breaking(command: list[str], **options: object) -> object:
        return real([sys.executable, "-c", kill], **options)  # type: ignore[call-overload]  # as given

    process.close()
    monkeypatch.setattr("edgehemo.images.child.subprocess.Popen", breaking)
    with pytest.raises(ImageError, match="makes the decoder break down"):
        process.decode(data, 0)


def test_a_picture_that_takes_too_long_is_given_up(process: DecodingProcess) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 8, (3000, 3000, 3)).astype(np.uint8)
    data = cv2.imencode(".tif", noise)[1].tobytes()
    process.decode(tiff([page_of(picture())]), 0)
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"takes more than 0\.05 s to decode"):
        process.decode(data, 0, limit_s=0.05)
    assert time.monotonic() - started < 2.0
    assert process.decode(data, 0)[0].shape == noise.shape


def test_a_fault_of_ours_is_not_called_damage(
    process: DecodingProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "planted"
    package.mkdir()
    (package / "sitecustomize.py").write_text(
        "import edgehemo.images.decoding as decoding\n"
        "def decode_field(*_):\n    raise AttributeError('no such thing\\nat all')\n"
        "decoding.decode_field = decode_field\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(package))
    with pytest.raises(ImageError) as caught:
        process.decode(tiff([page_of(picture())]), 0)
    assert "cannot be decoded: AttributeError: no such thing at all" in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_no_process_is_one_line(process: DecodingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgehemo.images.child.sys.executable", "/nowhere/python")
    with pytest.raises(ImageError, match="no process can be started"):
        process.decode(tiff([page_of(picture())]), 0)


def test_nothing_is_imported_from_the_folder_the_user_is_in(tmp_path: Path) -> None:
    for name in ("numpy", "cv2", "edgehemo", "json", "select"):
        (tmp_path / f"{name}.py").write_text(
            f"open({str(tmp_path / 'planted')!r}, 'w').write('{name}')\nraise SystemExit\n"
        )
    (tmp_path / "a.tif").write_bytes(tiff([page_of(picture())]))
    program = (
        "from pathlib import Path; from edgehemo.images.reading import read_frame;"
        "print(read_frame(Path('a.tif')).width)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "80\n", done.stderr
    assert not (tmp_path / "planted").exists()


def test_too_little_memory_is_one_line(tmp_path: Path) -> None:
    """No more is asked for than the file has, and what does not fit is said."""
    small, large = tmp_path / "small.jpg", tmp_path / "large.jpg"
    small.write_bytes(cv2.imencode(".jpg", picture())[1].tobytes())
    huge = np.zeros((7000, 8000, 3), np.uint8)
    large.write_bytes(cv2.imencode(".jpg", huge)[1].tobytes())
    apart = tmp_path / "large.tif"
    apart.write_bytes(cv2.imencode(".tif", huge)[1].tobytes())
    program = textwrap.dedent(
        """
        import resource, sys
        from pathlib import Path
        import cv2
        from edgehemo.errors import ImageError
        from edgehemo.images.reading import read_frame
        cv2.setNumThreads(1)
        pages = int(Path('/proc/self/statm').read_text().split()[0])
        limit = pages * resource.getpagesize() + 60_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for name in sys.argv[1:]:
            try:
                print(read_frame(Path(name)).width)
            except ImageError as error:
                print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(small), str(large), str(apart)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0] == "80"
    assert "does not fit into this machine's memory" in lines[1]
    assert "memory" in lines[2] or "no process can be started" in lines[2]
    assert len(lines) == 3


def test_a_missing_codec_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_webp(suffix: str, *_: object) -> tuple[bool, None]:
        raise cv2.error(f"could not find a writer for {suffix}")

    data = cv2.imencode(".bmp", picture())[1].tobytes()
    monkeypatch.setattr("edgehemo.images.decoding.cv2.imdecode", lambda *_: None)
    monkeypatch.setattr("edgehemo.images.decoding.cv2.imencode", without_webp)
    assert "is BMP, which this installation's OpenCV was built without" in refusal(data)


# -- bytes nobody has seen ----------------------------------------------------------------------

FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _seeds() -> dict[str, bytes]:
    pixels = picture(24, 32)
    seeds = {
        f"tiff {compression}": tiff([page_of(pixels, compression=compression, rows_per_strip=7)])
        for compression in (NONE, LZW, DEFLATE, PACKBITS)
    }
    seeds["tiff big"] = tiff([page_of(pixels)], big=True)
    seeds["tiff planar 16"] = tiff([page_of(pixels.astype(np.uint16) * 257, planar=True)])
    ome = b'<OME><Pixels SizeC="3" DimensionOrder="XYCZT"><Channel Name="R"/></Pixels></OME>\0'
    pages = [page_of(np.ascontiguousarray(pixels[..., channel])) for channel in range(3)]
    pages[0].tags[270] = ome
    seeds["tiff planes"] = tiff(pages)
    below = Page(dict(page_of(pixels).tags) | {254: 1}, page_of(pixels).strips)
    below.children = [page_of(pixels)]
    seeds["tiff below"] = tiff([below])
    seeds["webp"] = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 80])[1].tobytes()
    seeds["scans"] = many_scans(20)
    return seeds


SEEDS = _seeds()


def read_or_refused(data: bytes) -> None:
    try:
        opened = picture_of(data, "fuzz")
        for field in range(min(3, len(opened))):
            opened.frame(field)
    except ImageError as error:
        assert str(error).startswith("fuzz") and "\n" not in str(error)
        assert worker.FAULT not in str(error)


@FUZZ
@given(
    st.sampled_from(list(SEEDS)),
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.integers(1, 4)),
        min_size=1,
        max_size=8,
    ),
)
def test_any_changed_bytes_are_read_or_refused(
    kind: str, changes: list[tuple[float, int, int]]
) -> None:
    data = bytearray(SEEDS[kind])
    for place, value, count in changes:
        at = int(place * len(data))
        data[at : at + count] = bytes([value]) * len(data[at : at + count])
    read_or_refused(bytes(data))


@FUZZ
@given(st.sampled_from([kind for kind in SEEDS if "tiff" in kind]), st.data())
def test_any_tag_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    """The directory's fields are what a hostile file is made of."""
    tiff_bytes = bytearray(SEEDS[kind])
    if kind == "tiff big":
        at = struct.unpack_from("<Q", tiff_bytes, 8)[0] + 8
        step, width = 20, 8
        count = struct.unpack_from("<Q", tiff_bytes, at - 8)[0]
    else:
        at = struct.unpack_from("<I", tiff_bytes, 4)[0] + 2
        step, width = 12, 4
        count = struct.unpack_from("<H", tiff_bytes, at - 2)[0]
    entry = at + step * data.draw(st.integers(0, count - 1))
    for start, size in ((2, 2), (4, width), (step - width, width)):
        if data.draw(st.booleans()):
            value = data.draw(
                st.integers(0, 2 ** (8 * size) - 1) | st.sampled_from([0, 1, 2, 8, 65_535])
            )
            tiff_bytes[entry + start : entry + start + size] = value.to_bytes(size, "little")
    read_or_refused(bytes(tiff_bytes))


def test_a_file_whose_name_is_too_long_is_one_line() -> None:
    with pytest.raises(ImageError, match="cannot be opened"):
        read_frame(Path("a" * 5000 + ".jpg"))
