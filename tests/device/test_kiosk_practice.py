"""Practice: the slides are what they are called, what was right is told, and nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edgehemo.anaemia.who_grade import Person, grade
from edgehemo.capture.simulated import SimulatedMicroscope, parse_simulated
from edgehemo.device.configuration import DeviceConfiguration, load_profile
from edgehemo.device.equipment import open_equipment
from edgehemo.kiosk import events
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.practice import (
    DrawnCell,
    Practised,
    drawn_cells,
    drawn_grade,
    drawn_hgb_g_per_l,
    lesson,
)
from edgehemo.kiosk.practice_slides import SLIDE_NAMES, SLIDES, SlideName
from edgehemo.kiosk.profile_of import profile_path
from edgehemo.kiosk.state import Answers, Sample
from edgehemo.kiosk.work import WorkerProcess
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.users import add_user
from edgehemo.report.asked_cells import INCLUSIONS, AskedCell
from edgehemo.simulation.field import TrueCell
from edgehemo.statistics.interval import Interval
from edgehemo.words.language import Words

WOMAN = Person(32, "female")
ANSWERS = Answers(age_years=32.0, sex="female", pregnant=0, smokes=False)
ENGLISH = Words()


def practised(slide: SlideName, **values: Any) -> Sample:
    return Sample(ref=1, owner="amina", step="done", answers=ANSWERS, slide=slide, **values)


def result(hgb: Interval | None) -> dict[str, Any]:
    """What a lesson reads of a result."""
    return {
        "anaemia": None if hgb is None else asdict(grade(hgb, WOMAN)),
        "sample": {"hgb_g_per_l": None if hgb is None else asdict(hgb)},
    }


def marks(sample: Sample, record: dict[str, Any] | None) -> list[tuple[str, str]]:
    told = lesson(sample, record, (), Practised(), ENGLISH)
    return [(line.mark, line.text) for line in told.lines]


@pytest.mark.parametrize("name", SLIDE_NAMES)
def test_a_slide_is_of_the_simulated_microscope(name: SlideName) -> None:
    slide = SLIDES[name]
    assert parse_simulated(slide.source).fields == slide.fields
    assert (drawn_grade(name, WOMAN) is not None) == slide.usable


def test_the_slides_hold_every_kind_of_case() -> None:
    assert drawn_grade("severe", WOMAN) == "severe"
    assert drawn_grade("no_anaemia", WOMAN) == "none"
    assert drawn_grade("good", WOMAN) == "moderate"
    assert drawn_hgb_g_per_l("severe") == 52
    assert drawn_grade("good", None) is None


def test_a_grade_is_right_where_it_is_that_of_the_drawn_blood() -> None:
    severe = result(Interval(48, 30, 68))
    (signed, within) = marks(practised("severe"), severe)
    assert signed == ("good", "You signed: Severe anaemia. That was right.")
    assert within == ("good", "The device said 48 g/L, 30 to 68: it lies within.")
    (changed, _) = marks(practised("severe", signed_grade="mild"), severe)
    assert changed == ("fails", "You set: Mild anaemia. That was wrong.")
    (kept, outside) = marks(practised("severe"), result(Interval(90, 85, 95)))
    assert kept == ("soon", "You signed: Moderate anaemia. The device was wrong.")
    assert outside[0] == "soon"


def test_a_slide_that_nobody_can_read_is_rightly_given_no_grade() -> None:
    (refused,) = marks(practised("out_of_focus"), result(None))
    assert refused == ("good", "You signed it without a grade. That was right.")
    (guessed,) = marks(practised("over_stained", signed_grade="none"), result(None))
    assert guessed[0] == "fails"
    (given_up,) = marks(practised("wrong_sample", gave_up="wrong_sample"), None)
    assert given_up == ("good", "You gave this sample up. That was right.")
    (too_early,) = marks(practised("good", gave_up="poor_smear"), None)
    assert too_early[0] == "soon"


def asked(field: int, x: float, y: float, *codes: str) -> AskedCell:
    return AskedCell(field, 0, "rbc", (x - 15, y - 15, x + 15, y + 15), "normal", codes)


def test_what_was_drawn_where_a_cell_is_asked_about_is_found_again() -> None:
    source, field = SLIDES["cells"].source, 0
    with SimulatedMicroscope.from_spec(source) as camera:
        cells: list[TrueCell] = []
        while not any(cell.inclusion for cell in cells):
            field += 1
            camera.move_to_field(field)
            camera.frame(5.0)
            assert camera.truth is not None
            cells = [cell for cell in camera.truth.of_kind("rbc") if not cell.overlapped]
    full = next(cell for cell in cells if cell.inclusion)
    empty = next(cell for cell in cells if not cell.inclusion)
    found = drawn_cells(
        source,
        [
            asked(field, full.x_px + 2, full.y_px - 2, INCLUSIONS),
            asked(field, empty.x_px, empty.y_px),
            asked(field, -90.0, -90.0),
        ],
    )
    assert found == {0: DrawnCell(full.shape, True), 1: DrawnCell(empty.shape, False), 2: None}


def test_a_person_s_names_are_held_against_what_was_drawn() -> None:
    cells = [asked(0, 20, 20, INCLUSIONS), asked(0, 60, 20, INCLUSIONS), asked(0, 90, 90)]
    drawn = {0: DrawnCell("normal", True), 1: DrawnCell("normal"), 2: DrawnCell("teardrop")}

    def line(words: dict[int, str | None]) -> tuple[str, str] | None:
        told = lesson(
            practised("cells"), result(None), cells, Practised(words, drawn), ENGLISH
        ).lines[1:]
        return (told[0].mark, told[0].text) if told else None

    all_right = {0: None, 1: "stain_deposit", 2: "teardrop"}
    assert line(all_right) == ("good", "3 of 3 cells named as they were drawn.")
    assert line({0: "parasite", 1: None}) == ("soon", "1 of 2 cells named as they were drawn.")
    assert line({0: "stain_deposit", 1: None, 2: "normal"}) == (
        "fails",
        "0 of 3 cells named as they were drawn.",
    )
    assert line({0: "uncertain"}) is None


def everything(writer: Writer) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the records but the kiosk's own state, and the files beside them."""
    tables = [row[0] for row in writer.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {
        name: [tuple(row) for row in writer.rows(f'SELECT * FROM "{name}"')]
        for name in tables
        if name != "kiosk" and not name.startswith("sqlite_")
    }
    pictures = [path for path in writer.folder.path.rglob("*") if path.suffix in (".jpg", ".png")]
    return {**rows, "pictures": [tuple(map(str, pictures))]}


async def until(kiosk: Kiosk, reached: Callable[[], bool]) -> None:
    for _ in range(1200):
        if reached():
            return
        assert kiosk.state.fault is None, kiosk.state.fault
        await asyncio.sleep(0.1)
    raise AssertionError(f"the kiosk stays at {kiosk.state.place}")


def test_nothing_of_a_practice_enters_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the process that captures and analyses, through every step, grade and names changed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    workstation = load_profile("workstation")
    paths = replace_in(workstation, data=str(tmp_path / "data"))

    async def run() -> None:
        with Writer(RecordsFolder(tmp_path / "data" / "records")) as writer:
            add_user(writer, "grace", "supervisor", "4071", by="test")
            kiosk = Kiosk(writer)
            kiosk.work = WorkerProcess(kiosk, paths, "simulated:")
            await kiosk.start()
            try:
                for event in (
                    events.ChooseUser("grace"),
                    events.SignIn("grace", "supervisor", "screen-1"),
                ):
                    await kiosk.tell(event)
                before = everything(writer)
                await kiosk.tell(events.OpenPractice())
                await kiosk.tell(events.NewSample("cells"))
                await kiosk.tell(events.GivePerson(32, "female", 0))
                await until(kiosk, lambda: kiosk.state.checks is not None)
                await kiosk.tell(events.StartCapture())
                await until(kiosk, lambda: kiosk.state.place == "result")
                sample = kiosk.state.sample
                assert sample is not None and sample.asked
                await kiosk.tell(events.OpenReview())
                while (sample := kiosk.state.sample) is not None and sample.to_review:
                    await kiosk.tell(events.ConfirmPage(sample.page))
                await kiosk.tell(events.ShowCell(0))
                await kiosk.tell(events.ReviewOne(0, "stain_deposit"))
                await kiosk.tell(events.OpenSignOff())
                await kiosk.tell(events.Sign("severe", "signs", "a try"))
                await until(kiosk, lambda: kiosk.state.place == "done")
                await until(kiosk, lambda: bool(kiosk.practised(1).drawn))
                assert kiosk.practised(1).words[0] == "stain_deposit"
                gallery = kiosk.gallery(sample_of(kiosk))
                told = lesson(
                    sample_of(kiosk), gallery.record, gallery.cells, kiosk.practised(1), ENGLISH
                )
                assert told.lines[0].mark == "fails"
                assert "cells named as they were drawn" in told.lines[-1].text
                await kiosk.tell(events.Finish())
                assert everything(writer) == before
            finally:
                await kiosk.stop()

    asyncio.run(run())


def sample_of(kiosk: Kiosk) -> Sample:
    assert kiosk.state.sample is not None
    return kiosk.state.sample


def replace_in(device: DeviceConfiguration, *, data: str) -> DeviceConfiguration:
    return device.model_copy(update={"paths": device.paths.model_copy(update={"data": data})})


TAUGHT = {
    "out_of_focus": {"OUT_OF_FOCUS"},
    "over_stained": {"STAIN_DARK"},
    "wrong_sample": {"NO_CELLS", "NOT_A_SMEAR"},
}


@pytest.mark.parametrize("name", [name for name in SLIDE_NAMES if not SLIDES[name].usable])
def test_a_slide_that_cannot_be_read_is_refused_for_what_it_teaches(name: SlideName) -> None:
    """As the kiosk reads it: every field, and the first reason is the one that is shown."""
    device = load_profile("workstation")
    equipment = open_equipment(None, profile_path(SLIDES[name].source, device))
    reader = equipment.reader(networks=())
    with SimulatedMicroscope.from_spec(SLIDES[name].source) as camera:
        for number in (0, SLIDES[name].fields - 1):
            camera.move_to_field(number)
            reading = reader.read(camera.frame(10.0))
            assert not reading.accepted
            assert reading.quality.failed[0].code in TAUGHT[name]
