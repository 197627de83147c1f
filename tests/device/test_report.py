"""result.json, report.html and the annotated fields."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.anaemia.who_grade import Person, grade
from edgehemo.capture.protocol import FailedSource
from edgehemo.cells.shares import TypeShare
from edgehemo.estimate.values import SampleEstimate
from edgehemo.files.atomic import dump_json
from edgehemo.images.frame import Frame
from edgehemo.report.building import report_view
from edgehemo.report.evidence import Pictures
from edgehemo.report.first_page import chance, grade_scale
from edgehemo.report.histogram import (
    HIGH_UM,
    LOW_UM,
    MIN_SEPARATE_CELLS,
    drawn_histogram,
    histogram,
)
from edgehemo.report.html import report_html
from edgehemo.report.pictures import (
    CELL_PX,
    CELL_ROOM,
    KIND_RGB,
    REFUSED_RGB,
    annotated,
    cell_picture,
    jpeg,
    png,
    shrunk,
)
from edgehemo.report.result import NOTICE, SIMULATED_NOTICE, ScreeningResult, name_of
from edgehemo.report.told import code_of, sentence, told
from edgehemo.screening.cell_types import SampleTypes
from edgehemo.screening.field import FieldReader
from edgehemo.screening.provenance import Provenance
from edgehemo.screening.sample import SampleReading, Screening, screen_frames
from edgehemo.statistics.interval import Interval
from edgehemo.words.language import Words
from tests.support import schemas
from tests.support.pages import faults_of_page
from tests.support.screening_fakes import (
    BUNDLE_DIGEST,
    TruthFinder,
    blurred,
    scripted,
    simulated_frames,
)

ESTIMATE = SampleEstimate(
    hgb_g_per_l=Interval(96.0, 81.0, 111.0),
    hct_l_per_l=Interval(0.31, 0.27, 0.35),
    rbc_1e12_per_l=Interval(4.02, 3.5, 4.5),
    mcv_fl=Interval(77.1, 65.0, 91.0),
    mch_pg=Interval(23.9, 20.0, 28.0),
    mchc_g_per_l=Interval(309.7, 260.0, 360.0),
    reasons={},
    estimators={"hgb_g_per_l": "absorbance"},
    calibration="demonstration",
    notes=("demonstration: calibrated on 8 samples, too few to claim accuracy",),
)


def provenance(*, simulated: bool = False) -> Provenance:
    return Provenance(
        created_at=datetime(2026, 11, 21, 12, 30, tzinfo=UTC),
        bundle_digest=BUNDLE_DIGEST,
        bundle_name="truth 1",
        profile_digest="cd" * 32,
        profile_name="profile.json",
        um_per_px_given=None,
        simulated=simulated,
    )


@pytest.fixture(scope="module")
def finder() -> TruthFinder:
    return TruthFinder()


@pytest.fixture(scope="module")
def frames(finder: TruthFinder) -> list[Frame]:
    return simulated_frames(finder, count=3)


@pytest.fixture
def reading(
    finder: TruthFinder, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> SampleReading:
    """Two accepted fields, a refused one, an unreadable one; calibrated and graded."""
    check = scripted({frames[1].source: blurred()})
    monkeypatch.setattr("edgehemo.screening.sample.estimate_sample", lambda *_, **__: ESTIMATE)
    items: list[Frame | FailedSource] = [
        *frames,
        FailedSource("/secret/place/broken.png", "/secret/place/broken.png: is cut"),
    ]
    person = Person(age_years=30, sex="female")
    return screen_frames(
        items, Screening(FieldReader(finder, um_per_px=0.25, check=check), person=person)
    )


@pytest.fixture
def withheld(finder: TruthFinder, frames: list[Frame]) -> SampleReading:
    check = scripted({frame.source: blurred() for frame in frames})
    return screen_frames(frames, Screening(FieldReader(finder, um_per_px=0.25, check=check)))


def validate(record: dict[str, Any]) -> None:
    """ValidationError where the record, as it is written, does not keep to its schema."""
    schemas.validate(json.loads(dump_json(record)))


class Page(HTMLParser):
    """Text, tags and what the page would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name in ("src", "href", "action", "data")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_the_record_keeps_to_the_schema(reading: SampleReading) -> None:
    record = ScreeningResult(reading, provenance(), {0: "fields/001_a.png"}).record
    validate(record)
    assert [entry["image"] for entry in record["images"]][-1] == "broken.png"
    assert record["images"][0]["picture"] == "fields/001_a.png"
    assert record["anaemia"]["grade"] == "moderate"
    assert record["provenance"]["bundle"]["sha256"] == BUNDLE_DIGEST


def test_a_withheld_record_keeps_to_the_schema_and_holds_no_number(withheld: SampleReading) -> None:
    record = ScreeningResult(withheld, provenance()).record
    validate(record)
    assert record["outcome"] == "withheld"
    assert record["sample"]["hgb_g_per_l"] is None
    assert record["sample"]["reasons"]["hgb_g_per_l"] == record["withheld"]["reason"]
    assert record["withheld"]["code"] == "NO_FIELD_ACCEPTED"
    assert record["sample"]["reason_codes"]["hgb_g_per_l"] == "NO_FIELD_ACCEPTED"
    for entry in record["images"]:
        assert entry["cells"] is None
        assert entry["indices"] is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record: record.pop("notice"),
        lambda record: record.update(extra=1),
        lambda record: record["sample"].update(hgb_g_per_l=95.0),
        lambda record: record["images"][1].update(counts={"rbc": 1, "wbc": 0, "platelet": 0}),
        lambda record: record.update(outcome="withheld"),
    ],
)
def test_the_schema_refuses_what_it_should(reading: SampleReading, spoil: Any) -> None:
    record = json.loads(dump_json(ScreeningResult(reading, provenance()).record))
    spoil(record)
    with pytest.raises(jsonschema.ValidationError):
        validate(record)


def test_nothing_of_the_person_or_the_folders_is_kept(reading: SampleReading) -> None:
    text = dump_json(ScreeningResult(reading, provenance()).record)
    assert "secret" not in text
    assert "age" not in json.loads(text)["anaemia"]


def page_of(reading: SampleReading, frames: list[Frame], *, simulated: bool = False) -> str:
    record = ScreeningResult(reading, provenance(simulated=simulated)).record
    pictures = {
        index: jpeg(shrunk(annotated(frames[index], field)))
        for index, field in enumerate(reading.fields)
    }
    view = report_view(
        record, Words(), pictures=Pictures(pictures), sizes=histogram(reading.accepted)
    )
    return report_html(view)


def test_the_page_says_what_was_measured_and_how_sure_it_is(
    reading: SampleReading, frames: list[Frame]
) -> None:
    text = " ".join(Page(page_of(reading, frames)).text.split())
    assert "96 g/L" in text
    assert "haemoglobin, 95 %: 81 to 111" in text
    assert "0.310 L/L" in text
    assert "Moderate anaemia" in text
    assert "The interval also allows: Mild anaemia" in text
    assert "too few to claim accuracy" in text
    assert "Turn the fine focus until the cells are sharp." in text
    assert "broken.png" in text
    assert BUNDLE_DIGEST in text
    assert text.count(NOTICE) == 2
    assert SIMULATED_NOTICE not in text


def test_a_share_does_not_contradict_the_number_of_names(
    reading: SampleReading, frames: list[Frame]
) -> None:
    """47 cells bear a name that other types take for it: not 0.0 %, but what it can be at most."""
    shares = (
        TypeShare("burr_cell", 140, 0.70, 0.61, 0.83),
        TypeShare("normal", 47, 0.0002, 0.0, 0.235),
        TypeShare("teardrop", 0, 0.001, 0.0, 0.02),
    )
    types = SampleTypes(shares, "", 13, {}, "")
    text = " ".join(Page(page_of(replace(reading, types=types), frames)).text.split())
    assert "Normal red cell at most 23.5 % 47 *" in text
    assert "* As many cells as bear this name would bear it if there were none" in text
    assert "Burr cell 70.0 % 61.0 % to 83.0 % 140" in text
    assert "Teardrop cell 0.1 % 0.0 % to 2.0 % 0" in text
    without = replace(reading, types=replace(types, red_cells=shares[:1]))
    assert "As many cells as bear this name" not in Page(page_of(without, frames)).text


def test_the_page_is_self_contained(reading: SampleReading, frames: list[Frame]) -> None:
    html = page_of(reading, frames)
    page = Page(html)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert len(page.addresses) == 3
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://", html)
    assert not faults_of_page(html)


def test_a_simulated_sample_says_so_at_the_top_and_at_the_bottom(
    reading: SampleReading, frames: list[Frame]
) -> None:
    html = page_of(reading, frames, simulated=True)
    assert html.count(SIMULATED_NOTICE) == 2
    assert "<title>SIMULATED" in html


def test_a_withheld_sample_shows_the_reason_and_no_result(
    withheld: SampleReading, frames: list[Frame]
) -> None:
    text = " ".join(Page(page_of(withheld, frames)).text.split())
    assert "No result" in text
    assert "What to do next Turn the fine focus" in text
    assert "Haemoglobin (HGB)" not in text


def test_a_hostile_name_stays_text(finder: TruthFinder, frames: list[Frame]) -> None:
    check = scripted()
    name = '<img src="http:x" onerror=alert(1)>.png'
    finder.truths[name] = finder.truths[frames[0].source]
    frame = Frame(frames[0].pixels, name)
    reading = screen_frames([frame], Screening(FieldReader(finder, um_per_px=0.25, check=check)))
    page = Page(page_of(reading, [frame]))
    assert page.tags.count("img") == 1
    assert name in page.text


def test_cells_are_drawn_in_their_kinds_colours_and_refused_fields_framed(
    reading: SampleReading, frames: list[Frame]
) -> None:
    accepted = annotated(frames[0], reading.fields[0])
    assert accepted.shape == frames[0].pixels.shape
    changed = np.any(accepted != frames[0].pixels, axis=2)
    assert 0.01 < changed.mean() < 0.5
    assert (accepted == KIND_RGB["rbc"]).all(axis=2).any()
    refused = annotated(frames[1], reading.fields[1])
    assert (refused[0] == REFUSED_RGB).all()
    middle = slice(20, -20)
    assert (refused[middle, middle] == frames[1].pixels[middle, middle]).all()


def test_png_keeps_every_pixel(frames: list[Frame]) -> None:
    import cv2

    decoded = cv2.imdecode(np.frombuffer(png(frames[0].pixels), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert (decoded[..., ::-1] == frames[0].pixels).all()


@pytest.mark.parametrize("place", ["inside", "upper left", "lower right"])
def test_a_cell_is_cut_with_its_surroundings_whether_the_border_is_near_or_not(
    frames: list[Frame], place: str
) -> None:
    import cv2

    pixels = frames[0].pixels
    height, width = pixels.shape[:2]
    corner = {
        "inside": (width / 2, height / 2),
        "upper left": (0.0, 0.0),
        "lower right": (width - 30.0, height - 26.0),
    }
    x0, y0 = corner[place]
    box = x0, y0, x1, y1 = x0, y0, x0 + 30.0, y0 + 26.0
    half = round(CELL_ROOM * max(x1 - x0, y1 - y0) / 2)
    x, y = round((x0 + x1) / 2), round((y0 + y1) / 2)
    framed = np.pad(pixels, ((half, half), (half, half), (0, 0)), mode="edge")
    wanted = cv2.resize(
        framed[y : y + 2 * half, x : x + 2 * half],
        (CELL_PX, CELL_PX),
        interpolation=cv2.INTER_AREA if 2 * half > CELL_PX else cv2.INTER_CUBIC,
    )
    assert (cell_picture(pixels, box) == wanted).all()


def test_the_histogram_counts_separate_cells_of_accepted_fields(reading: SampleReading) -> None:
    drawn = histogram(reading.accepted)
    assert drawn is not None
    expected = sum(
        len(field.indices.single_cell_areas_um2) for field in reading.accepted if field.indices
    )
    assert drawn.cells == expected
    assert 5.0 < drawn.median_um < 9.0
    assert histogram(reading.refused) is None


def test_a_handful_of_separate_cells_makes_no_histogram(reading: SampleReading) -> None:
    (first, *_) = reading.accepted
    assert first.indices is not None
    for cells, drawn in ((MIN_SEPARATE_CELLS - 1, False), (MIN_SEPARATE_CELLS, True)):
        indices = replace(first.indices, single_cell_areas_um2=(44.0,) * cells)
        assert (histogram([replace(first, indices=indices)]) is not None) == drawn


@given(st.lists(st.floats(0.1, 60.0), min_size=1, max_size=300))
def test_every_histogram_stays_inside_its_drawing(diameters: list[float]) -> None:
    drawn = drawn_histogram(diameters)
    assert sum(int(bar.label.split(": ")[1].split()[0]) for bar in drawn.bars) == len(diameters)
    for bar in drawn.bars:
        assert drawn.left <= bar.x
        assert bar.x + bar.width <= drawn.right + 0.01
        assert drawn.top - 0.01 <= bar.y
        assert bar.y + bar.height == pytest.approx(drawn.base)
    assert 2 <= len(drawn.ticks_y) <= 6
    assert drawn.low_quartile_um <= drawn.median_um <= drawn.high_quartile_um
    assert LOW_UM < HIGH_UM


@given(st.floats(10, 250), st.floats(0, 80), st.sampled_from([0.7, 3.0, 8.0, 13.0, 40.0]))
def test_the_scale_of_haemoglobin_is_ordered(value: float, reach: float, age: float) -> None:
    person = Person(age_years=age, sex="male")
    anaemia = grade(Interval(value, max(0.0, value - reach), value + reach), person)
    drawn = grade_scale(asdict(anaemia.rounded()), Words())
    assert drawn is not None
    assert 0 <= drawn.low <= drawn.value <= drawn.high <= 1
    assert [band.grade for band in drawn.bands] == ["severe", "moderate", "mild", "none"]
    ends = [0.0, *(band.end for band in drawn.bands)]
    assert [band.start for band in drawn.bands] == ends[:-1]
    assert ends == sorted(ends)
    assert ends[-1] == 1


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/a/b/c.png", "c.png"),
        ("simulated:?seed=3", "simulated:?seed=3"),
        ("uvc:/dev/video0", "uvc:/dev/video0"),
        ("smears/a.mp4#t=2.5", "a.mp4#t=2.5"),
    ],
)
def test_a_source_is_named_without_its_folders(source: str, name: str) -> None:
    assert name_of(source) == name


def test_words_and_numbers_read_as_they_should() -> None:
    english, french = Words(), Words("fr", "g/dL")
    assert sentence("no field") == "No field."
    assert sentence("Done.") == "Done."
    assert english.significant(None) == "–"
    assert english.significant(12345.6) == "12,346"
    assert english.significant(0.04567) == "0.0457"
    assert english.significant(0.000868) == "0.0009"
    assert english.significant(0.0) == "0"
    assert french.significant(-6.85) == "-6,85"
    assert english.plain(70.0) == "70"
    assert french.plain(0.05) == "0,05"
    assert chance(0.9999, english) == "over 99\u00a0%"
    assert chance(0.001, english) == "under 1\u00a0%"
    assert chance(0.5, french) == "50\u00a0%"


def test_a_moment_names_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    at = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)
    for zone, said in (
        ("UTC", "2026-11-20 22:30 (UTC)"),
        ("EAT-3", "2026-11-21 01:30 (UTC+03:00)"),
        ("NST3:30", "2026-11-20 19:00 (UTC-03:30)"),
    ):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert Words().moment(at) == said
    monkeypatch.undo()
    time.tzset()


def test_stored_reasons_are_told_by_their_code_in_another_language() -> None:
    reason = "fewer than 100 red cells"
    assert code_of(reason) == "TOO_FEW_RED_CELLS"
    assert told(Words(), reason) == "Fewer than 100 red cells."
    assert told(Words("fr"), reason) == sentence(Words("fr").title("TOO_FEW_RED_CELLS"))
    assert told(Words("fr"), "a reason of another version") == "A reason of another version."
    given = "the calibration profile p.json was changed by hand after it was sealed"
    meaning = Words("sw").guidance("PROFILE_EDITED").meaning
    assert told(Words("sw"), given, "PROFILE_EDITED") == meaning
