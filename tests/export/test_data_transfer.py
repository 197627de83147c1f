"""Fetching a file: what breaks off goes on where it stopped, and never mixes two versions."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo_export.data.fetching.problems import DataSetError, NoSpaceError
from edgehemo_export.data.fetching.transfer import Transfer
from tests.support.data_mirror import Fault, mirror

BODY = np.random.default_rng(7).bytes(3_000_000)
OTHER = np.random.default_rng(8).bytes(3_000_000)


def transfer(url: str, place: Path, waited: list[float] | None = None, tries: int = 2) -> Transfer:
    waits = tuple(float(n + 1) for n in range(tries))
    return Transfer(url, place, waits_s=waits, sleep=(waited if waited is not None else []).append)


def test_a_file_arrives_whole(tmp_path: Path) -> None:
    reached: list[tuple[int, int | None]] = []
    with mirror({"a.zip": BODY}) as server:
        one = Transfer(
            f"{server.url}/a.zip", tmp_path / "in" / "a.zip", lambda *a: reached.append(a)
        )
        assert one.fetch().read_bytes() == BODY
    assert reached[-1] == (len(BODY), len(BODY))
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.zip"]


def test_a_broken_line_is_taken_up_where_it_broke(tmp_path: Path) -> None:
    with mirror({"a.zip": BODY}) as server:
        server.faults = [
            Fault(cut_after=1_000_000),
            Fault(status=503, retry_after="7"),
            Fault(cut_after=500_000),
        ]
        waited: list[float] = []
        assert (
            transfer(f"{server.url}/a.zip", tmp_path / "a.zip", waited).fetch().read_bytes() == BODY
        )
        assert server.sent == len(BODY), "no byte is fetched twice"
    starts = [asked for _, asked in server.asked]
    assert starts == [None, "bytes=1000000-", "bytes=1000000-", "bytes=1500000-"]
    assert waited == [1.0, 7.0, 1.0], "progress begins the waits anew; the server's wish is kept"


def test_a_stopped_process_goes_on_in_the_next(tmp_path: Path) -> None:
    """What a killed program leaves: the part and its note."""
    with mirror({"a.zip": BODY}) as server:
        server.faults = [Fault(cut_after=2_000_000)]
        code = (
            "import os, sys\n"
            "from pathlib import Path\n"
            "from edgehemo_export.data.fetching.transfer import Transfer\n"
            "Transfer(sys.argv[1], Path(sys.argv[2]), sleep=lambda s: os._exit(9)).fetch()\n"
        )
        place = tmp_path / "a.zip"
        killed = subprocess.run([sys.executable, "-c", code, f"{server.url}/a.zip", str(place)])
        assert killed.returncode == 9
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip.part", "a.zip.part.json"]
        assert transfer(f"{server.url}/a.zip", place).fetch().read_bytes() == BODY
        assert server.sent == len(BODY)


@pytest.mark.parametrize("versions", [True, False])
def test_another_version_is_begun_anew(tmp_path: Path, versions: bool) -> None:
    """By its tag; and where the server tells none, by its size."""
    with mirror({"a.zip": BODY}) as server:
        server.versions = versions
        server.faults = [Fault(cut_after=1_000_000), *[Fault(status=503)] * 3]
        one = transfer(f"{server.url}/a.zip", tmp_path / "a.zip")
        with pytest.raises(DataSetError, match=r"503.*1\.0 MB are kept.*goes on where it stopped"):
            one.fetch()
        now = OTHER if versions else OTHER[:-1]
        server.files["a.zip"] = now
        assert transfer(f"{server.url}/a.zip", tmp_path / "a.zip").fetch().read_bytes() == now


def test_a_part_of_another_address_is_not_gone_on_with(tmp_path: Path) -> None:
    with mirror({"a.zip": BODY, "b.zip": OTHER}) as server:
        server.versions = False
        server.faults = [Fault(cut_after=1_000_000), *[Fault(status=503)] * 3]
        with pytest.raises(DataSetError):
            transfer(f"{server.url}/a.zip", tmp_path / "x.zip").fetch()
        assert transfer(f"{server.url}/b.zip", tmp_path / "x.zip").fetch().read_bytes() == OTHER


def test_a_server_without_parts_or_sizes_is_served_from_the_start(tmp_path: Path) -> None:
    with mirror({"a.zip": BODY}) as server:
        server.ranges = server.sized = server.versions = False
        assert transfer(f"{server.url}/a.zip", tmp_path / "a.zip").fetch().read_bytes() == BODY
        server.sized = True
        server.faults = [Fault(cut_after=1_000_000)]
        assert transfer(f"{server.url}/a.zip", tmp_path / "b.zip").fetch().read_bytes() == BODY


def test_all_there_but_the_last_step(tmp_path: Path) -> None:
    """Killed between the last byte and the rename: the server has nothing more to give."""
    with mirror({"a.zip": BODY}) as server:
        one = transfer(f"{server.url}/a.zip", tmp_path / "a.zip")
        one.fetch()
        one.place.rename(one.part)
        tag = {"url": one.url, "version": None, "total": len(BODY)}
        one.note.write_text(json.dumps(tag))
        assert one.fetch().read_bytes() == BODY
        assert server.sent == len(BODY)


def test_a_damaged_note_begins_anew(tmp_path: Path) -> None:
    with mirror({"a.zip": BODY}) as server:
        one = transfer(f"{server.url}/a.zip", tmp_path / "a.zip")
        one.part.write_bytes(b"something else")
        one.note.write_text('{"url": 3')
        assert one.fetch().read_bytes() == BODY


@pytest.mark.parametrize(
    ("status", "tries"), [(403, 1), (404, 1), (500, 3)], ids=["refused", "missing", "busy"]
)
def test_what_the_server_refuses_is_told(tmp_path: Path, status: int, tries: int) -> None:
    with mirror({}) as server:
        server.faults = [Fault(status=status)] * tries
        with pytest.raises(DataSetError, match=rf"a\.zip: cannot be fetched.*{status}"):
            transfer(f"{server.url}/a.zip", tmp_path / "a.zip").fetch()
        assert len(server.asked) == tries
    assert list(tmp_path.iterdir()) == []


def test_nobody_listens(tmp_path: Path) -> None:
    with mirror({}) as server:
        gone = server.url
    waited: list[float] = []
    with pytest.raises(DataSetError, match="Look at the network"):
        transfer(f"{gone}/a.zip", tmp_path / "a.zip", waited).fetch()
    assert waited == [1.0, 2.0]


@pytest.mark.parametrize("url", ["http://", "ftp://a/b", "http://[::1", "nonsense"])
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataSetError, match="cannot be fetched"):
        transfer(url, tmp_path / "a.zip").fetch()


def test_what_cannot_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with mirror({"a.zip": BODY}) as server:  # noqa: SIM117  the server outlives the error
        with pytest.raises(NoSpaceError, match=r"a\.zip needs 3\.0 MB and 1\.0 MB are free"):
            transfer(f"{server.url}/a.zip", tmp_path / "a.zip").fetch()
    assert list(tmp_path.iterdir()) == []


FAULTS = st.one_of(
    st.builds(Fault, cut_after=st.integers(0, 300_000)),
    st.builds(Fault, status=st.sampled_from([408, 429, 500, 502, 503, 504])),
    st.just(Fault()),
)


@settings(max_examples=30, deadline=None)
@given(
    faults=st.lists(FAULTS, max_size=8),
    ranges=st.booleans(),
    versions=st.booleans(),
    sized=st.booleans(),
    changes=st.booleans(),
)
def test_whatever_breaks_what_arrives_is_one_whole_version(
    faults: list[Fault], ranges: bool, versions: bool, sized: bool, changes: bool
) -> None:
    """Called again until it is there, as a person would; the file may change in the middle."""
    first, second = BODY[:250_000], OTHER[:250_001]
    with tempfile.TemporaryDirectory() as folder, mirror({"a.zip": first}) as server:
        # Without a length and without a tag, a line that is cut cannot be told from the end.
        server.ranges, server.versions, server.sized = ranges, versions, sized
        if not sized:
            faults = [fault for fault in faults if fault.cut_after is None]
        server.faults = list(faults)
        place = Path(folder) / "a.zip"
        for _ in range(len(faults) + 1):
            try:
                transfer(f"{server.url}/a.zip", place, tries=1).fetch()
            except DataSetError:
                if changes:
                    server.files["a.zip"] = second
                continue
            break
        assert place.read_bytes() in (first, second)
        assert place.read_bytes() == server.files["a.zip"] or not changes
        assert [path.name for path in Path(folder).iterdir()] == ["a.zip"]
