"""The output folder: moved whole, one writer, nothing of anybody else's touched."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgehemo.cli import run
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD, UsageError
from edgehemo.files import staging
from edgehemo.files.staging import FolderBusyError, StagedFolder
from edgehemo.images.frame import Frame
from edgehemo.report.folder import OutputFolder, output_folder
from edgehemo.report.pictures import png
from edgehemo.screening.field import FieldReader
from edgehemo.screening.sample import SampleReading, Screening, screen_frames
from tests.device.test_report import provenance
from tests.support.screening_fakes import TruthFinder, scripted, simulated_frames


@pytest.fixture(scope="module")
def finder() -> TruthFinder:
    return TruthFinder()


@pytest.fixture(scope="module")
def slide(finder: TruthFinder) -> list[Frame]:
    return simulated_frames(finder, count=4)


@pytest.fixture
def read(
    finder: TruthFinder, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[Frame], OutputFolder | None], SampleReading]:
    """``read(frames, folder)``: the sample, its pictures drawn into the folder."""

    def work(frames: list[Frame], folder: OutputFolder | None = None) -> SampleReading:
        screening = Screening(FieldReader(finder, um_per_px=0.25, check=scripted()))

        def keep(result: object, frame: Frame | None) -> None:
            if folder is not None and frame is not None:
                folder.add(len(screening.images) - 1, result, frame)  # type: ignore[arg-type]

        return screen_frames(frames, screening, keep)

    return work


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


Read = Callable[..., SampleReading]


def written(out: Path, frames: list[Frame], read: Read) -> set[str]:
    folder = output_folder(out)
    folder.finish(read(frames, folder), provenance())
    return set(tree(out))


def test_a_second_sample_replaces_the_first_whole(
    tmp_path: Path, slide: list[Frame], read: Read
) -> None:
    out = tmp_path / "out"
    first = written(out, slide[:3], read)
    assert len(first) == 5 and {"result.json", "report.html"} < first
    out.chmod(0o700)
    second = written(out, slide[3:], read)
    assert len(second) == 3 and second == {
        "result.json",
        "report.html",
        json.loads((out / "result.json").read_bytes())["images"][0]["picture"],
    }
    assert out.stat().st_mode & 0o777 == 0o700, "the folder's own mode was lost"
    assert hidden(tmp_path) == [] and hidden(out) == []


def test_until_the_end_the_earlier_result_stands(
    tmp_path: Path, slide: list[Frame], read: Read
) -> None:
    out = tmp_path / "out"
    written(out, slide[:2], read)
    before = tree(out)
    folder = output_folder(out)
    read(slide[2:], folder)
    assert tree(out) == before
    folder.discard()
    assert tree(out) == before and hidden(tmp_path) == []


def test_what_a_killed_run_left_goes_and_what_a_kiosk_left_is_taken_up(
    tmp_path: Path, slide: list[Frame], read: Read
) -> None:
    out = tmp_path / "out"
    killed = output_folder(out)
    sample = read(slide[:3], killed)
    os.close(killed.staged._handle or 0)  # as the end of a process does
    killed.staged._handle = None
    resumed = output_folder(out, resume=True)
    result = resumed.finish(sample, provenance())
    assert len(result.pictures) == 3 and len(tree(out)) == 5

    again = output_folder(out)
    read(slide[:3], again)
    os.close(again.staged._handle or 0)
    again.staged._handle = None
    assert hidden(tmp_path)
    assert len(written(out, slide[3:], read)) == 3
    assert hidden(tmp_path) == []


def test_two_at_once_into_one_folder(tmp_path: Path, slide: list[Frame], read: Read) -> None:
    one = output_folder(tmp_path / "out")
    with pytest.raises(UsageError, match="another screening is writing there"):
        output_folder(tmp_path / "out")
    (tmp_path / "link").symlink_to("out")
    with pytest.raises(UsageError, match="another screening is writing there"):
        output_folder(tmp_path / "link")
    one.finish(read(slide[:1], one), provenance())
    output_folder(tmp_path / "out").discard()


def test_an_unreadable_sample_does_not_replace_a_result(
    tmp_path: Path,
    slide: list[Frame],
    read: Read,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "keep"
    written(out, slide[:2], read)
    before = tree(out)
    command = ["screen", str(tmp_path / "typo"), "--out", str(out)]
    assert run(command) == EXIT_BAD_INPUT
    assert "holds the result of another sample" in capsys.readouterr().err
    assert run([*command, "--force"]) == EXIT_BAD_INPUT
    said = capsys.readouterr()
    assert "the earlier result in the output folder stays" in said.err
    assert "report:" not in said.out
    assert tree(out) == before and hidden(tmp_path) == []
    # Where none stood, the page says what could not be read.
    assert run(["screen", str(tmp_path / "typo"), "--out", str(tmp_path / "new")]) == EXIT_BAD_INPUT
    assert (tmp_path / "new" / "report.html").is_file()


@pytest.mark.parametrize("named", ["holds", "is", "lies in", "by a link"])
def test_an_out_and_a_source_keep_apart(
    tmp_path: Path, slide: list[Frame], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = tmp_path / "s" / "fields"
    fields.mkdir(parents=True)
    for index, frame in enumerate(slide[:2]):
        (fields / f"{index + 1:03d}_a.png").write_bytes(png(frame.pixels))
    before = tree(tmp_path)
    (tmp_path / "link").symlink_to("s")
    out, source = {
        "holds": (tmp_path / "s", fields),
        "is": (fields, fields),
        "lies in": (fields / "report", fields),
        "by a link": (tmp_path / "link", fields / "001_a.png"),
    }[named]
    assert run(["screen", str(source), "--out", str(out)]) == EXIT_BAD_INPUT
    said = capsys.readouterr().err
    assert "source" in said and said.count("\n") == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["fields/001_a.png", "result.json", "report.html"])
def test_what_no_result_lists_is_not_replaced(
    tmp_path: Path, slide: list[Frame], name: str
) -> None:
    out = tmp_path / "out"
    (out / "fields").mkdir(parents=True)
    (out / name).write_bytes(b"somebody's own")
    (tmp_path / "a.png").write_bytes(png(slide[0].pixels))
    assert run(["screen", str(tmp_path / "a.png"), "--out", str(out)]) == EXIT_BAD_INPUT
    assert (out / name).read_bytes() == b"somebody's own" and hidden(tmp_path) == []


def test_other_files_in_the_folder_stay(tmp_path: Path, slide: list[Frame], read: Read) -> None:
    out = tmp_path / "out"
    written(out, slide[:3], read)
    (out / "notes.txt").write_text("mine")
    (out / "fields" / "drawing.png").write_text("mine too")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "001_x.png").write_text("far")
    (out / "far").symlink_to(tmp_path / "elsewhere")
    files = written(out, slide[3:], read)
    assert {"notes.txt", "fields/drawing.png", "far/001_x.png"} <= files | {
        f"far/{path.name}" for path in (out / "far").iterdir()
    }
    assert len([name for name in files if name.startswith("fields/0")]) == 1
    assert (out / "far").is_symlink() and (tmp_path / "elsewhere" / "001_x.png").exists()
    assert hidden(out) == [] and hidden(tmp_path) == []


def test_a_link_in_the_place_of_the_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "001_x.png").write_text("far")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fields").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="not a folder of its own"):
        output_folder(tmp_path / "out")
    assert (tmp_path / "elsewhere" / "001_x.png").read_text() == "far"


def test_a_listed_path_that_leads_out_is_not_removed(
    tmp_path: Path, slide: list[Frame], read: Read
) -> None:
    out = tmp_path / "out"
    written(out, slide[:1], read)
    (tmp_path / "victim.png").write_text("far")
    record = json.loads((out / "result.json").read_bytes())
    record["images"].append({"picture": "../victim.png"})
    record["images"].append({"picture": "fields/../../victim.png"})
    (out / "result.json").write_text(json.dumps(record))
    written(out, slide[3:], read)
    assert (tmp_path / "victim.png").read_text() == "far"


def test_the_folder_one_stands_in_is_not_taken_away(
    tmp_path: Path, slide: list[Frame], read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    inode = out.stat().st_ino
    written(Path(), slide[:3], read)
    written(Path(), slide[3:], read)
    assert out.stat().st_ino == inode and len(tree(out)) == 3
    assert hidden(out) == [] and hidden(tmp_path) == []


def make(stage: StagedFolder, names: list[str], text: str) -> None:
    for name in names:
        path = stage.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


OLD, NEW = ["r.json", "p.html", "f/1", "f/2"], ["r.json", "p.html", "f/1", "f/3"]


@pytest.mark.parametrize("stranger", [False, True])
def test_killed_at_every_step_it_is_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: bool
) -> None:
    """At each call that changes a name; afterwards opening the folder mends it."""

    class Killed(BaseException):
        pass

    steps = 0
    for step in range(60):
        place = tmp_path / str(step) / "out"
        first = StagedFolder(place)
        make(first, OLD, "old")
        first.publish([])
        if stranger:
            (place / "mine").write_text("mine")
        stage = StagedFolder(place)
        make(stage, NEW, "new")
        calls = 0

        def counted(call: Callable[..., object], allowed: int = step) -> Callable[..., object]:
            def work(*arguments: object, **options: object) -> object:
                nonlocal calls
                calls += 1
                if calls > allowed:
                    raise Killed
                return call(*arguments, **options)

            return work

        with monkeypatch.context() as patch:
            for name in ("replace", "rename", "unlink", "touch", "rmdir"):
                patch.setattr(Path, name, counted(getattr(Path, name)))
            patch.setattr(staging, "_exchange", counted(staging._exchange))
            patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
            try:
                stage.publish(OLD)
                done = True
            except Killed:
                done = False
        if stage._handle is not None:
            fcntl.flock(stage._handle, fcntl.LOCK_UN)
        found = {n: b for n, b in tree(place).items() if not n.startswith(".")}
        texts = set(found.values()) - {b"mine"}
        # Never both: what is replaced is gone before the new comes.
        assert len(texts) <= 1, (step, found)
        StagedFolder(place).discard()
        mended = tree(place)
        if stranger:
            assert mended.pop("mine") == b"mine"
        assert mended in (dict.fromkeys(OLD, b"old"), dict.fromkeys(NEW, b"new")), step
        assert hidden(place.parent) == [] and hidden(place) == []
        if done:
            assert mended == dict.fromkeys(NEW, b"new")
            break
        steps += 1
    else:
        pytest.fail("it never ended")
    assert steps >= (8 if stranger else 3)


def test_a_full_disk_while_publishing_leaves_the_old(
    tmp_path: Path, slide: list[Frame], read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    written(out, slide[:2], read)
    before = tree(out)
    folder = output_folder(out)
    sample = read(slide[2:], folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgehemo.report.folder.write_text_atomically", full)
    with pytest.raises(OSError, match="No space"):
        folder.finish(sample, provenance())
    assert tree(out) == before
    folder.discard()
    assert hidden(tmp_path) == []


def test_a_stage_is_one_process_s(tmp_path: Path) -> None:
    stage = StagedFolder(tmp_path / "x")
    with pytest.raises(FolderBusyError):
        StagedFolder(tmp_path / "x")
    stage.publish([])
    assert (tmp_path / "x").is_dir()
    (tmp_path / "x" / "a").write_text("1")
    other = StagedFolder(tmp_path / "x")
    make(other, ["a"], "2")
    with pytest.raises(FileExistsError, match="is not replaced"):
        other.publish([])
    assert (tmp_path / "x" / "a").read_text() == "1"
    other.discard()


def test_the_normal_way_through_the_command(tmp_path: Path, slide: list[Frame]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(slide[0].pixels))
    out = tmp_path / "deep" / "er" / "out"
    code = run(["screen", str(tmp_path / "in"), "--out", str(out), "--um-per-px", "0.25"])
    assert code in (EXIT_DONE, EXIT_WITHHELD)
    assert {"result.json", "report.html"} <= set(tree(out))
