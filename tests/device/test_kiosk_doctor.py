"""The engineer's page of the device: what is wrong with it, its speed, what the kiosk noted."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from pathlib import Path

import pytest

from edgehemo.commands import logs
from edgehemo.device.changing import ReadOnlyError, change_device
from edgehemo.device.configuration import ENVIRONMENT_VARIABLE, load_device
from edgehemo.device.finding import DoctorReport, Finding, trouble
from edgehemo.device.kiosk_log import last_lines, log_path
from edgehemo.device.toml_editing import with_values
from edgehemo.errors import DeviceError, RecordsError
from edgehemo.kiosk.engineering import own_command
from edgehemo.kiosk.engineering.device_facts import lasted
from edgehemo.kiosk.engineering.doctor import DoctorArea
from edgehemo.kiosk.engineering.doctor_view import looked_at
from edgehemo.kiosk.engineering.job_view import trouble_of
from edgehemo.kiosk.engineering.own_command import CommandFailedError, run_command
from edgehemo.kiosk.jobs import Job, JobStopped
from edgehemo.kiosk.paging import turned_to
from edgehemo.words.language import Words
from tests.support.engineer_page import engineer_at

BENCH = {
    "machine": {"board": "a board"},
    "field_ms": 91.4,
    "peak_memory_mb": 180.0,
    "stages": [{"stage": "decode", "median_ms": 2.0}, {"stage": "scale", "median_ms": 9.0}],
    "artefacts": [{"problem": None}],
    "recommended": {"runtime": "onnx", "precision": "int8", "threads": 1, "total_ms": 44.0},
}
REPORT = DoctorReport(
    (
        Finding("python", "ok", "Python 3.11"),
        trouble("clock", "warn", "CLOCK_WRONG", "1970"),
        trouble("runtime onnx", "fail", "RUNTIME_MISSING", "is chosen", requirement="onnxruntime"),
    )
)


def pretend(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Have a program of a few lines in the place of the command."""
    monkeypatch.setattr(own_command, "command_line", lambda _: [sys.executable, "-c", program])


def test_what_is_wrong_stands_first_and_says_what_to_do() -> None:
    found = looked_at(REPORT, Words("en"))
    assert [each.verdict for each in found] == ["fails", "soon", "good"]
    assert found[0].called == "onnx"
    assert found[0].action == "Run: pip install 'onnxruntime'"
    assert (found[2].title, found[2].action) == ("", "")


def test_a_list_is_turned_over_and_never_past_its_ends() -> None:
    items = list(range(7))
    assert turned_to(items, "1", 5).items == [5, 6]
    assert turned_to(items, "99", 5).number == 1
    assert turned_to(items, "-3", 5).number == 0
    assert turned_to([], "x", 5).pages == 1


def test_times_are_told_in_their_two_largest_units() -> None:
    words = Words("en")
    assert lasted(59, words) == "0 min"
    assert lasted(3_700, words) == "1 h 1 min"
    assert lasted(90_000, words) == "1 d 1 h"


def test_the_page_looks_by_itself_and_shows_each_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def examined() -> DoctorReport:
        looked.append(1)
        return REPORT

    monkeypatch.setattr("edgehemo.kiosk.engineering.doctor.examine", examined)

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, DoctorArea()) as at:
            await at.job_ends()
            text = (await at.get()).text
            assert "1 thing is wrong." in text
            assert "The runtime is not installed" in text
            text = (await at.get("?look=clock")).text
            assert "Set the clock" in text
            assert len(looked) == 1
            await at.post("look")
            await at.job_ends()
            await at.get()
            assert len(looked) == 2
            assert "127.0.0.1" in (await at.get("device")).text
            assert (await at.get("no-such")).status_code == 404
            assert (await at.post("no-such")).status_code == 404

    asyncio.run(run())


def test_what_is_fastest_is_taken_over_on_a_tap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, f"print({json.dumps(json.dumps(BENCH))})")

    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, DoctorArea()) as at:
            await at.job_ends()
            assert "Measure first." in (await at.post("bench/take")).text
            assert "How fast is this device?" in (await at.get("bench")).text
            await at.post("bench/begin")
            await at.job_ends()
            text = (await at.get("bench")).text
            assert "One field takes 91 ms." in text
            assert "onnx int8" in text
            text = (await at.post("bench/take")).text
            assert "Taken over." in text
            assert "That is what runs now." in text
            assert at.app.device.inference.threads == 1
            assert load_device(None).inference.threads == 1
            assert "# A bench device; this line stays." in at.device_file.read_text("utf-8")
            wanted = {"runtime": "onnx", "precision": "int8", "threads": 1}
            assert at.chain("configuration changed") == [{"inference": wanted, "by": "Ines"}]

    asyncio.run(run())


def test_a_measurement_that_fails_says_why_and_one_that_is_stopped_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, DoctorArea()) as at:
            await at.job_ends()
            pretend(
                monkeypatch,
                "import sys\nprint('edgehemo: the bundle is damaged', file=sys.stderr)\n"
                "sys.exit(2)",
            )
            await at.post("bench/begin")
            await at.job_ends()
            text = (await at.get("bench")).text
            assert "the bundle is damaged" in text
            assert 'role="alert"' in text
            pretend(monkeypatch, "import time; time.sleep(60)")
            await at.post("bench/begin")
            assert "The device times its models." in (await at.get("bench")).text
            begun = time.monotonic()
            await at.post("bench/stop")
            await at.job_ends(10)
            assert time.monotonic() - begun < 8
            assert "It was stopped." in (await at.get("bench")).text

    asyncio.run(run())


def test_a_command_tells_how_far_it_is_and_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[float | None, str]] = []
    job = Job("bench", "doctor")
    job._told = lambda: steps.append((job.share, job.step))
    pretend(
        monkeypatch,
        "import sys\nfor line in ('stages begins, 4 to do', 'stages: 2 of 4 (50 %), 3 s',"
        " 'edgehemo: warning: hot', 'edgehemo: left out: s1'): print(line, file=sys.stderr)\n"
        "print('{\"a\": 1}'); sys.exit(1)",
    )
    said = run_command(job, ["bench"])
    assert (said.document, said.withheld) == ({"a": 1}, True)
    assert said.complaints == ("left out: s1",)
    # Pages are told at most twice a second; what is so stands in the job.
    assert steps[0] == (0.0, "stages")
    assert (job.share, job.step) == (0.5, "stages")
    pretend(monkeypatch, "print('no JSON')")
    with pytest.raises(CommandFailedError, match="no JSON"):
        run_command(job, ["bench"])
    job._stop.set()
    pretend(monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(JobStopped):
        run_command(job, ["bench"])


def test_the_own_command_is_really_called() -> None:
    said = run_command(Job("keys", "doctor"), ["keys", "list"])
    assert said.document["schema"] == "edgehemo.keys/1"


def test_an_error_is_told_in_words_and_a_fault_of_the_program_says_no_more() -> None:
    words = Words("en")
    known = trouble_of(RecordsError("the disk says no"), words)
    assert known.title == "The records refuse this"
    assert known.lines == ("the disk says no",)
    assert trouble_of(KeyError("a patient's name"), words).lines == ()


def test_the_log_is_kept_and_shown_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with engineer_at(tmp_path, monkeypatch, DoctorArea()) as at:
            path = log_path(at.app.device)
            assert "Nothing was noted yet." in (await at.get("log")).text
            logs.keep_in(path)
            try:
                for number in range(9):
                    logging.getLogger("edgehemo.kiosk.test").info("note %d", number)
                logging.getLogger("edgehemo.kiosk.test").error("the camera\nis gone")
            finally:
                logs.stop()
            lines = last_lines(path)
            assert (lines[0].text, lines[0].is_trouble) == ("the camera is gone", True)
            assert lines[1].text == "note 8"
            text = (await at.get("log")).text
            assert "the camera is gone" in text
            assert "note 0" not in text
            assert "note 0" in (await at.get("log?page=1")).text

    asyncio.run(run())


def test_a_log_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    logs.keep_in(tmp_path / "file" / "kiosk.log")
    assert "no log is kept" in caplog.text


def test_keys_are_set_where_they_stand_and_comments_stay() -> None:
    text = '[camera]\nexposure_us = 9000.0  # by hand\nsource = "uvc:/dev/video0"\n\n[kiosk]\n'
    changed = with_values(
        text,
        {
            "camera": {"exposure_us": 8000.0, "gain": 1.0, "source": None},
            "kiosk": {"unit": "g/dL"},
            "paths": {"profile": 'a "b" \\ c'},
            "screening": {"anaemia_screen": None},
        },
    )
    assert changed == (
        "[camera]\ngain = 1.0\nexposure_us = 8000.0  # by hand\n\n"
        '[kiosk]\nunit = "g/dL"\n\n[paths]\nprofile = "a \\"b\\" \\\\ c"\n'
    )


def test_a_section_ends_where_one_of_several_of_a_name_begins() -> None:
    text = '[kiosk]\nport = 8321\n\n[[receivers]]\nunit = "g/L"\n'
    changed = with_values(text, {"kiosk": {"unit": "g/dL"}})
    assert changed == '[kiosk]\nunit = "g/dL"\nport = 8321\n\n[[receivers]]\nunit = "g/L"\n'


def test_a_configuration_is_changed_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "device.toml"
    good = 'schema = "edgehemo.device/1"\nname = "bench"\nboard = "workstation"\n'
    file.write_text(good, encoding="utf-8")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(file))
    with pytest.raises(DeviceError) as told:
        change_device({"camera": {"gain": -4.0}, "kiosk": {"unit": "mg"}})
    assert str(told.value).count("\n") == 1
    assert file.read_text("utf-8") == good
    assert change_device({"kiosk": {"unit": "g/dL"}}).kiosk.unit == "g/dL"
    inline = f'{good}kiosk = {{ unit = "g/L" }}\n'
    file.write_text(inline, encoding="utf-8")
    with pytest.raises(DeviceError):
        change_device({"kiosk": {"unit": "g/dL"}})
    assert file.read_text("utf-8") == inline


def test_a_configuration_that_is_shut_says_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "device.toml"
    file.write_text(
        'schema = "edgehemo.device/1"\nname = "bench"\nboard = "workstation"\n', encoding="utf-8"
    )
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(file))

    def shut(*_: object) -> None:
        raise PermissionError(13, "may not be written", str(file))

    monkeypatch.setattr("edgehemo.device.changing.write_text_atomically", shut)
    with pytest.raises(ReadOnlyError) as told:
        change_device({"kiosk": {"unit": "g/dL"}})
    assert told.value.wanted == ("[kiosk]", 'unit = "g/dL"')
    assert str(file) in str(told.value)


def test_a_device_without_a_file_gets_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    own = tmp_path / "config" / "device.toml"
    monkeypatch.setattr("edgehemo.device.changing.configured_path", lambda: None)
    monkeypatch.setattr("edgehemo.device.changing.user_path", lambda: own)
    assert change_device({"kiosk": {"altitude_m": 1200.0}}).kiosk.altitude_m == 1200.0
    assert "altitude_m = 1200.0" in own.read_text("utf-8")
