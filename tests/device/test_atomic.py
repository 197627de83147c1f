"""Writing whole or not at all, and destroying nothing that is no regular file."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgehemo.files.atomic import dump_json, write_bytes_atomically, write_text_atomically
from edgehemo.files.names import for_terminal, well_formed


def parts(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".part")]


def test_a_pipe_is_written_into_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_bytes_atomically(pipe, b"x" * 200_000)
    reader.join(10)
    assert got == [b"x" * 200_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.open("wb").close()
    except OSError:
        device = Path(os.devnull)
    write_text_atomically(device, "nothing")
    assert stat.S_ISCHR(device.stat().st_mode)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    real, near, chain = tmp_path / "far" / "real", tmp_path / "near", tmp_path / "chain"
    real.write_text("old")
    near.symlink_to(Path("far") / "real")
    chain.symlink_to("near")
    write_text_atomically(chain, "new")
    assert chain.is_symlink() and near.is_symlink() and real.read_text() == "new"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "far" / "made")
    write_text_atomically(dangling, "made")
    assert dangling.is_symlink() and (tmp_path / "far" / "made").read_text() == "made"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="round"):
        write_text_atomically(tmp_path / "round", "x")


def test_standard_output_by_its_name_keeps_what_was_said_before(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from edgehemo.files import write_text_atomically\n"
        "print('first', flush=True); write_text_atomically(Path('/dev/stdout'), 'second')"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "first\nsecond"


def test_mode_owner_and_umask(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("old")
    kept.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(kept, 1234, 4321)
    write_text_atomically(kept, "new")
    status = kept.stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    if os.geteuid() == 0:
        assert (status.st_uid, status.st_gid) == (1234, 4321)
    for mask, mode in ((0o077, 0o600), (0o022, 0o644)):
        before = os.umask(mask)
        try:
            write_text_atomically(tmp_path / f"new{mask}", "x")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"new{mask}").stat().st_mode) == mode


def test_a_full_disk_leaves_the_old_file_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_text_atomically(target, "new")
    assert caught.value.filename == str(target)
    assert target.read_text() == "old" and parts(tmp_path) == []


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_text_atomically(tmp_path, "x")


def test_what_a_killed_writer_left_goes_and_a_living_ones_part_stays(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from edgehemo.files import atomic\n"
        "with atomic.written_atomically(Path(sys.argv[1])) as file:\n"
        "    file.write(b'a patient'); file.flush(); print('ready', flush=True); time.sleep(60)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "a.png")], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    write_text_atomically(tmp_path / "b", "x")
    assert len(parts(tmp_path)) == 1, "the living writer's part was taken away"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert len(parts(tmp_path)) == 1
    write_text_atomically(tmp_path / "b", "y")
    assert parts(tmp_path) == [] and not (tmp_path / "a.png").exists()


def test_a_name_as_long_as_the_system_takes(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    write_text_atomically(target, "x")
    assert target.read_text() == "x"


def test_names_that_are_not_utf_8_and_commands_to_a_terminal() -> None:
    name = os.fsdecode(b"caf\xe9 \x1b[31mred\x9b2J\n")
    assert well_formed(name) == "caf\\xe9 \x1b[31mred\\x9b2J\n"
    assert for_terminal(name) == "caf\\xe9 \\x1b[31mred\\x9b2J\n"
    assert for_terminal("a\u202egnp.exe") == "a\\u202egnp.exe"
    assert for_terminal("ä 赤血球 µm") == "ä 赤血球 µm"
    assert json.loads(dump_json({name: [name]}).encode("utf-8")) == {
        well_formed(name): [well_formed(name)]
    }
    assert well_formed("\ud800x") == "\\ud800x"


def test_json_is_indented_as_pythons_own_would_be() -> None:
    value = {
        "a": [], "b": {}, "c": [1.0, 1e-20, 1e22, -0.0, 3, float("nan")], "d": "ü\u2028\"\\ \n",
        "e": None, "f": {"x": [{}, [[]], ({"y": True},)]}, "": False, "g": 12345678901234567890,
    }  # fmt: skip
    plain = {**value, "c": [*value["c"][:-1], None]}  # type: ignore[index]
    assert dump_json(value) == json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    assert dump_json([]) == "[]\n"
