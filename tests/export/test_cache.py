"""The cache of prepared data: by everything the content depends on, and by several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehemo_export.configuration import Configuration
from edgehemo_export.data import cache as cache_module
from edgehemo_export.data.cache import content_of, entry_path, key_of, prepared


class Options(Configuration):
    """A configuration of two numbers."""

    side_px: int = 8
    share: float = 0.5


class Maker:
    """Makes an array of ones and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, NDArray[Any]]:
        self.calls += 1
        return {"codes": np.full((2, 3), self.calls, np.uint8), "accepted": np.array(True)}


def test_an_entry_is_made_once_and_comes_back_as_it_was(tmp_path: Path) -> None:
    make = Maker()
    first = prepared(tmp_path, "cell-crops", {"side_px": 3}, make)
    again = prepared(tmp_path, "cell-crops", {"side_px": 3}, make)
    assert make.calls == 1 and set(again) == {"codes", "accepted"}
    for name, array in first.items():
        assert again[name].dtype == array.dtype and np.array_equal(again[name], array)
    assert [path.suffix for path in (tmp_path / "cell-crops").iterdir()] == [".npz"]
    prepared(None, "cell-crops", {"side_px": 3}, make)
    assert make.calls == 2, "without a folder nothing is kept"


@pytest.mark.parametrize(
    "other",
    [
        {"boxes": np.array([[0, 0, 9, 8]], np.float32)},
        {"boxes": np.array([[0, 0, 9, 9]], np.float64)},
        {"boxes": np.array([0, 0, 9, 9], np.float32)},
        {"kinds": np.array([1])},
        {"options": Options(share=0.25)},
        {"complete": frozenset(("rbc",))},
        {"finder": "another bundle"},
        {"seed": 2},
        {"um_per_px": None},
        {"pictures": ["b", "a"]},
    ],
)
def test_other_labels_options_or_finders_are_other_entries(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    depends_on = {
        "boxes": np.array([[0, 0, 9, 9]], np.float32),
        "kinds": np.array([0]),
        "options": Options(),
        "complete": frozenset(("rbc", "wbc")),
        "finder": "a bundle",
        "seed": 1,
        "um_per_px": 0.2,
        "pictures": ["a", "b"],
    }
    make = Maker()
    prepared(tmp_path, "field-tiles", depends_on, make)
    prepared(tmp_path, "field-tiles", {**depends_on, **other}, make)
    prepared(tmp_path, "screen-field", depends_on, make)
    assert make.calls == 3
    equal = {
        **depends_on,
        "boxes": depends_on["boxes"].copy(),  # type: ignore[attr-defined]
        "complete": frozenset(("wbc", "rbc")),
        "options": Options(side_px=8),
    }
    prepared(tmp_path, "field-tiles", dict(reversed(equal.items())), make)
    assert make.calls == 3


def test_a_new_version_of_a_kind_or_of_the_software_is_another_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Maker()
    prepared(tmp_path, "cell-crops", {}, make)
    versions = {**cache_module.VERSIONS, "cell-crops": cache_module.VERSIONS["cell-crops"] + 1}
    monkeypatch.setattr(cache_module, "VERSIONS", versions)
    prepared(tmp_path, "cell-crops", {}, make)
    monkeypatch.setattr(cache_module, "__version__", "0.0.0+other")
    prepared(tmp_path, "cell-crops", {}, make)
    assert make.calls == 3


def test_what_has_no_value_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="PosixPath: give its content"):
        prepared(tmp_path, "cell-crops", {"picture": tmp_path}, Maker())


def test_a_file_counts_by_its_content(tmp_path: Path) -> None:
    picture, copy = tmp_path / "a.jpg", tmp_path / "b.jpg"
    picture.write_bytes(b"one")
    copy.write_bytes(b"one")
    first = content_of(picture)
    assert content_of(copy) == first
    status = picture.stat()
    picture.write_bytes(b"two")  # of the same size
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000))
    assert content_of(picture) != first


def test_what_making_raises_passes_and_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, NDArray[Any]]:
        raise RuntimeError("no field")

    with pytest.raises(RuntimeError, match="no field"):
        prepared(tmp_path, "cell-crops", {}, fail)
    assert not list(tmp_path.rglob("*.npz"))
    make = Maker()
    prepared(tmp_path, "cell-crops", {}, make)
    assert make.calls == 1


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", bytes.upper])
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    make = Maker()
    prepared(tmp_path, "cell-crops", {}, make)
    path = entry_path(tmp_path, "cell-crops", key_of("cell-crops", {}))
    path.write_bytes(damage(path.read_bytes()))
    assert prepared(tmp_path, "cell-crops", {}, make)["codes"].max() == 2
    assert prepared(tmp_path, "cell-crops", {}, make)["codes"].max() == 2


def test_an_entry_of_another_key_under_this_name_is_not_read(tmp_path: Path) -> None:
    make = Maker()
    prepared(tmp_path, "cell-crops", {"seed": 1}, make)
    one = entry_path(tmp_path, "cell-crops", key_of("cell-crops", {"seed": 1}))
    one.rename(entry_path(tmp_path, "cell-crops", key_of("cell-crops", {"seed": 2})))
    prepared(tmp_path, "cell-crops", {"seed": 2}, make)
    assert make.calls == 2


@given(
    st.dictionaries(
        st.text(max_size=5), st.one_of(st.integers(), st.floats(), st.text(), st.none()), max_size=4
    )
)
def test_a_key_is_the_same_in_any_order(depends_on: dict[str, Any]) -> None:
    turned = dict(reversed(depends_on.items()))
    assert key_of("cell-crops", depends_on) == key_of("cell-crops", turned)
    assert key_of("cell-crops", depends_on) != key_of("cell-crops", {**depends_on, "more than": 1})


# --- several processes ---------------------------------------------------------------------------

# Makes an entry slowly; a line in the log for each time it is made.
_SLOW = """
    import sys, time
    from pathlib import Path
    import numpy as np
    from edgehemo_export.data.cache import prepared

    folder, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

    def make():
        with log.open("a") as file:
            file.write("made\\n")
        time.sleep(seconds)
        return {"codes": np.arange(200_000)}

    print(int(prepared(folder, "simulated-tiles", {"seed": 1}, make)["codes"].sum()))
"""


def start(folder: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    code = textwrap.dedent(_SLOW)
    command = [sys.executable, "-c", code, str(folder), str(log), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(log: Path, lines: int) -> None:
    until = time.monotonic() + 60
    while not log.is_file() or len(log.read_text().splitlines()) < lines:
        assert time.monotonic() < until, "the process made nothing"
        time.sleep(0.02)


def test_processes_at_once_make_an_entry_once_and_read_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [start(tmp_path / "cache", log, 0.7) for _ in range(3)]
    answers = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert answers == [str(sum(range(200_000)))] * 3
    assert log.read_text().splitlines() == ["made"]
    left = sorted(path.name for path in (tmp_path / "cache" / "simulated-tiles").iterdir())
    assert len(left) == 1 and left[0].endswith(".npz")


def test_a_maker_killed_half_way_leaves_nothing_that_is_read_and_no_lock(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "cache"
    killed = start(folder, log, 60)
    wait_for(log, 1)
    waiting = start(folder, log, 0)
    time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    killed.wait(timeout=60)
    assert waiting.communicate(timeout=120)[0].strip() == str(sum(range(200_000)))
    assert log.read_text().splitlines() == ["made"] * 2


def test_a_half_written_file_is_never_read_and_is_cleared_away(tmp_path: Path) -> None:
    """What a process killed while it wrote leaves: the temporary file of the atomic writer."""
    make = Maker()
    path = entry_path(tmp_path, "cell-crops", key_of("cell-crops", {}))
    path.parent.mkdir(parents=True)
    half = path.with_name(f".{path.name}.abc123.part")
    half.write_bytes(b"PK\x03\x04 half")
    assert prepared(tmp_path, "cell-crops", {}, make)["codes"].max() == 1
    assert not half.exists() and path.is_file()
