"""What a hostile name, folder or file may do: nothing but be told in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.bundle.packing import unpack
from edgehemo.cli import BUILT_IN, run
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_CRASHED, BundleError
from edgehemo.images.frame import Frame
from edgehemo.report.pictures import png
from tests.support.screening_fakes import TruthFinder, simulated_frames

PLANTED = """
import os, pathlib
pathlib.Path(__file__).with_name("RUN").write_text("code of this folder was run")
raise ImportError("planted")
"""


@pytest.fixture(scope="module")
def frame() -> Frame:
    return simulated_frames(TruthFinder())[0]


@pytest.mark.parametrize("command", [["verify"], ["bundle", "install", str(SHIPPED_BUNDLE)]])
def test_no_code_of_the_folder_one_stands_in_is_run(tmp_path: Path, command: list[str]) -> None:
    for name in ("numpy", "json", "onnxruntime", "edgehemo", "tempfile", "struct"):
        (tmp_path / f"{name}.py").write_text(PLANTED)
    edgehemo = Path(sys.executable).with_name("edgehemo")
    environment = {**os.environ, "HOME": str(tmp_path / "home"), "XDG_DATA_HOME": str(tmp_path)}
    environment.pop("EDGEHEMO_DEVICE", None)
    done = subprocess.run(
        [edgehemo, *command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert not (tmp_path / "RUN").exists(), "planted code was run"
    assert done.returncode == 0, done.stderr


def test_every_python_that_is_started_keeps_out_of_the_current_folder() -> None:
    """Whoever starts one says -P or -I: the folder may be a stick that somebody brought."""
    root = Path(__file__).resolve().parents[2]
    found = 0
    for package in ("edgehemo", "calibration", "firmware_config", "export"):
        for path in (root / package).rglob("*.py"):
            for line in path.read_text(encoding="utf-8").splitlines():
                if "[sys.executable" in line:
                    found += 1
                    assert '"-P"' in line or '"-I"' in line, f"{path}: {line.strip()}"
    assert found


def test_names_that_are_no_utf_8_are_screened_and_written(
    tmp_path: Path, frame: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    (folder / name).write_bytes(png(frame.pixels))
    (folder / os.fsdecode(b"broken\xff.png")).write_bytes(b"no picture")
    out = tmp_path / "out"
    arguments = ["screen", str(folder), "--out", str(out), "--um-per-px", "0.25"]
    assert run([*arguments, "--json", str(tmp_path / "j.json")]) == EXIT_BAD_INPUT
    said = capsys.readouterr()
    assert "broken\\xff.png" in said.err and "Traceback" not in said.err
    record = json.loads((out / "result.json").read_bytes().decode("utf-8"))
    assert sorted(image["image"] for image in record["images"]) == [
        "broken\\xff.png",
        "caf\\xe9.png",
    ]
    assert "caf\\xe9.png" in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "j.json").read_text(encoding="utf-8"))["images"]
    for command in ("quality", "cells", "estimate"):
        assert run([command, str(folder), "--json", "-"]) == EXIT_BAD_INPUT
        json.loads(capsys.readouterr().out)


def test_no_command_to_a_terminal_comes_through(
    tmp_path: Path, frame: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "a\x1b[31mred.png", tmp_path / "b\x1b]0;title\x07.png"
    good.write_bytes(png(frame.pixels))
    bad.write_bytes(b"no picture")
    for arguments in (
        ["quality", str(tmp_path)],
        ["cells", str(tmp_path)],
        ["screen", str(tmp_path), "--out", str(tmp_path.parent / "o")],
        ["verify", str(bad)],
        ["bundle", "install", str(bad)],
        ["quality", str(tmp_path / "none\x1b[2J")],
        ["quality\x1b[2J"],
        ["screen", "--no\x1b[2J"],
    ):
        run(arguments)
        said = capsys.readouterr()
        assert said.err or said.out
        for control in ("\x1b", "\x07", "\x9b"):
            assert control not in said.err + said.out, arguments


def test_a_fault_of_the_program_is_one_line_and_its_own_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise TypeError("patient-name.png is at fault")

    monkeypatch.setattr("edgehemo.commands.common.read_each", broken)
    log = tmp_path / "log"
    assert run(["--log-file", str(log), "quality", "x.png"]) == EXIT_CRASHED
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "TypeError at edgehemo.cli" in said and "report" in said
    assert "patient-name" not in said and "patient-name" not in log.read_text()
    assert run(["-vv", "quality", "x.png"]) == EXIT_CRASHED
    assert "Traceback" in capsys.readouterr().err

    def hungry(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("edgehemo.commands.common.read_each", hungry)
    assert run(["quality", "x.png"]) == EXIT_BAD_INPUT
    assert "not enough memory" in capsys.readouterr().err


def test_a_path_that_cannot_be_looked_at_does_not_end_a_batch(
    tmp_path: Path, frame: Frame, capsys: pytest.CaptureFixture[str]
) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(png(frame.pixels))
    (tmp_path / "round").symlink_to("round")
    bad = ["a" * 300 + ".png", str(tmp_path / "round"), str(tmp_path / ("b/" * 3000))]
    for command in ("quality", "cells", "estimate"):
        assert run([command, *bad, str(good), "--json", "-"]) == EXIT_BAD_INPUT
        images = json.loads(capsys.readouterr().out)["images"]
        assert ["error" in image for image in images] == [True, True, True, False]
    out = tmp_path / "out"
    assert run(["screen", *bad, str(good), "--out", str(out)]) == EXIT_BAD_INPUT
    record = json.loads((out / "result.json").read_bytes())
    assert ["error" in image for image in record["images"]] == [True, True, True, False]


def test_damaged_archives_are_one_line(tmp_path: Path) -> None:
    whole = tmp_path / "whole.zip"
    with zipfile.ZipFile(whole, "w") as packed:
        for number, method in enumerate(
            (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
        ):
            packed.writestr(f"folder/{number}", b"content of a member " * 50, method)
    data = whole.read_bytes()
    rng = np.random.default_rng(1)
    damaged, refused = tmp_path / "damaged.zip", 0
    for _ in range(600):
        broken = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 6)):
            broken[place] = rng.integers(256)
        damaged.write_bytes(bytes(broken[: rng.integers(len(data) // 2, len(data) + 1)]))
        target = tmp_path / "out"
        target.mkdir()
        try:
            unpack(damaged, target)
        except BundleError as error:
            refused += 1
            assert "\n" not in str(error)
        shutil.rmtree(target)
    assert refused > 300


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["n" * 300], ["a\0b"]])
def test_archives_whose_names_no_disk_takes(tmp_path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        for name in names:
            info = zipfile.ZipInfo("x" * len(name))
            info.filename = name
            packed.writestr(info, b"x")
    (tmp_path / "out").mkdir()
    try:
        unpack(tmp_path / "x.zip", tmp_path / "out")
    except BundleError as error:
        assert "is not a bundle" in str(error)
    else:
        assert names == ["a\0b"], "zipfile ends a name at a null byte"


@pytest.mark.parametrize("source", ["/dev/zero", "/dev/null", "fifo"])
def test_what_never_ends_is_no_bundle(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if source == "fifo":
        os.mkfifo(tmp_path / "fifo")
        source = str(tmp_path / "fifo")
    for command in (["verify"], ["bundle", "install"]):
        assert run([*command, source]) == EXIT_BAD_INPUT
        assert capsys.readouterr().err.count("\n") == 1


WORDS = st.one_of(
    st.sampled_from(
        [
            *BUILT_IN,
            *[
                "--json",
                "-",
                "--out",
                "--um-per-px",
                "--profile",
                "--bundle",
                "-v",
                "-q",
                "-h",
                "install",
                "list",
                "new",
                "trust",
            ],
            *[
                "rollback",
                "pack",
                "--fields",
                "--age",
                "--threads",
                "--log-file",
                "--counting-error",
                "--model",
            ],
            *[
                "--runs",
                "--name",
                "/dev/null",
                ".",
                "nan",
                "inf",
                "-1",
                "1e400",
                "0",
                "simulated:?x=1",
                "uvc:",
                "uvcc:0",
            ],
            *["picamera2:-1", "%s", "~"],
        ]
    ),
    st.text(st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), max_size=20),
    st.binary(max_size=12).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"").replace(b"/", b""))),
)
# Commands that do their work without an input: they would only take long.
_WORKS = {"demo", "bench", "doctor", "verify", "rollback", "new"}


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(arguments=st.lists(WORDS, max_size=7).filter(lambda words: _WORKS.isdisjoint(words)))
def test_no_command_line_crashes(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) in (0, 1, 2), arguments
    assert "Traceback" not in capsys.readouterr().err
