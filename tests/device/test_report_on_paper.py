"""The report as PDF: the same words and numbers as the page, whole, archivable, on every paper."""

from __future__ import annotations

import html as html_text
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typst", reason="the [pdf] extra is not installed")
pypdf = pytest.importorskip("pypdf", reason="pypdf reads what was printed")

from edgehemo.anaemia.who_grade import Person
from edgehemo.errors import MissingDependencyError
from edgehemo.images.frame import Frame
from edgehemo.records.deidentified import View
from edgehemo.records.results import Change
from edgehemo.records.reviews import review
from edgehemo.records.store import Store, Writer
from edgehemo.records.stored_view import stored_view
from edgehemo.records.versions import Amendments, Override, RenamedCell, change
from edgehemo.report import pdf as pdf_module
from edgehemo.report.building import report_view
from edgehemo.report.evidence import Pictures
from edgehemo.report.histogram import drawn_histogram
from edgehemo.report.html import report_html
from edgehemo.report.paper import PAPERS, Paper
from edgehemo.report.pdf import report_pdf
from edgehemo.report.pictures import jpeg
from edgehemo.report.result import NOTICE, ScreeningResult
from edgehemo.report.view import Cells, Fields, ReportView
from edgehemo.screening.field import FieldReader
from edgehemo.screening.sample import SampleReading, Screening, screen_frames
from edgehemo.words.language import LANGUAGES, Language, Words
from tests.device.test_report import ESTIMATE, provenance
from tests.support.screening_fakes import TruthFinder, blurred, scripted, simulated_frames
from tests.support.stored import stored

MM_PER_PT = 25.4 / 72
WORD = re.compile(r"\w+(?:[.,\u202f]\w+)*")


FINDER = TruthFinder()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return simulated_frames(FINDER, count=3)


@pytest.fixture(scope="module")
def records(
    frames: list[Frame], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Writer, dict[str, str]]]:
    """Stored results by what they are: unsigned, signed, corrected, withheld, held, withdrawn."""
    store = Store.below(tmp_path_factory.mktemp("paper"))
    with store.writer() as writer:
        named: dict[str, str] = {}
        for name in ("unsigned", "signed", "corrected", "held", "withdrawn"):
            made = stored(
                writer, frames, FINDER, f"SAMPLE-{len(named)}", operator="amina", site="Kisumu"
            )
            assert made is not None
            named[name] = made.result_id
        for name in ("signed", "corrected"):
            change(writer, named[name], "signed", by="amina")
        review(writer, named["corrected"], field=0, cell=1, type="target_cell", by="dr.okello")
        amendments = Amendments(
            sample="SAMPLE-77",
            cells=(RenamedCell(field=0, cell=1, type="target_cell"),),
            override=Override(grade="severe"),
            comment="seen again",
        )
        change(
            writer, named["corrected"], "corrected", by="dr.okello", reason="mislabelled",
            amendments=amendments,
        )  # fmt: skip
        states: tuple[Change, ...] = ("held", "withdrawn")
        for state in states:
            change(writer, named[state], state, by="dr.okello", reason="a bubble in the smear")
        yield writer, named


def text_of_pdf(file: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(file)).pages)


def text_of_html(page: str) -> str:
    body = page.partition("<body>")[2]
    # What the drawings say stands in them as text; their labels repeat it.
    body = re.sub(r"<title>.*?</title>", " ", body)
    return html_text.unescape(re.sub(r"<[^>]*>", " ", body))


def words_in(text: str) -> set[str]:
    return {word for word in WORD.findall(text.replace("\u00a0", " ")) if word.strip("0")}


def without_places(text: str) -> set[str]:
    return words_in(text) - {"edgehemo"}


def compare(view: ReportView) -> None:
    """Page and paper say the same words and numbers; the paper has its page numbers besides."""
    file = report_pdf(view)
    count = len(pypdf.PdfReader(io.BytesIO(file)).pages)
    numbers = words_in(" ".join(str(n) for n in range(1, count + 1)))
    between = words_in(view.page_of.replace("{n}", "").replace("{all}", ""))
    page, paper = without_places(text_of_html(report_html(view))), without_places(text_of_pdf(file))
    assert page - paper == set()
    assert paper - page <= numbers | between


@pytest.fixture
def reading(frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> SampleReading:
    """Two accepted fields and a refused one; calibrated and graded."""
    check = scripted({frames[1].source: blurred()})
    monkeypatch.setattr("edgehemo.screening.sample.estimate_sample", lambda *_, **__: ESTIMATE)
    reader = FieldReader(FINDER, um_per_px=0.25, check=check)
    person = Person(30.0, "female", altitude_m=1600.0)
    return screen_frames(frames, Screening(reader, person=person))


def view_of(reading: SampleReading, frames: list[Frame], words: Words, **given: Any) -> ReportView:
    record = ScreeningResult(reading, provenance()).record
    record = json.loads(json.dumps(record)) | given.pop("instead", {})
    return report_view(
        record,
        words,
        pictures=Pictures(
            {n: jpeg(frame.pixels) for n, frame in enumerate(frames)},
            {(0, n): jpeg(frames[0].pixels[:40, :40]) for n in range(4)},
        ),
        sizes=drawn_histogram([6.0, 7.0, 7.2, 8.0]),
        **given,
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_page_and_paper_say_the_same(
    reading: SampleReading, frames: list[Frame], language: Language
) -> None:
    compare(view_of(reading, frames, Words(language, "g/dL")))
    compare(view_of(reading, frames, Words(language), practice=True))


@pytest.mark.parametrize("name", ["unsigned", "signed", "corrected", "held", "withdrawn"])
@pytest.mark.parametrize("language", ["en", "sw"])
def test_a_stored_result_says_the_same_on_page_and_paper(
    records: tuple[Writer, dict[str, str]], name: str, language: Language
) -> None:
    writer, named = records
    compare(stored_view(writer, named[name], Words(language)))


def test_the_numbers_stand_in_the_site_s_unit(reading: SampleReading, frames: list[Frame]) -> None:
    english = text_of_pdf(report_pdf(view_of(reading, frames, Words())))
    assert "96 g/L" in english
    assert "95 %: 81 to 111" in english
    french = text_of_pdf(report_pdf(view_of(reading, frames, Words("fr", "g/dL"))))
    assert "9,6 g/dL" in french
    assert "95 %\xa0: 8,1 à 11,1" in french
    assert "31,0" in french  # MCHC, 309.7 g/L
    assert " g/L" not in french


def test_every_state_is_said_and_what_must_be_loud_is(
    records: tuple[Writer, dict[str, str]],
) -> None:
    writer, named = records
    views = {name: stored_view(writer, result, Words()) for name, result in named.items()}
    loud = {
        name: [banner.text.split()[0] for banner in view.banners if banner.loud]
        for name, view in views.items()
    }
    assert loud == {
        "unsigned": ["SIMULATED:", "NOT"], "signed": ["SIMULATED:", "NOT"],
        "corrected": ["SIMULATED:", "NOT"], "held": ["SIMULATED:", "HELD", "NOT"],
        "withdrawn": ["SIMULATED:", "WITHDRAWN", "NOT"],
    }  # fmt: skip
    assert views["unsigned"].signature.lines[0].startswith("Not signed: preliminary.")
    assert views["unsigned"].signature.open
    assert views["signed"].signature.lines[0].startswith("Signed by amina, ")
    assert not views["signed"].signature.open
    corrected = views["corrected"]
    said = " ".join(corrected.signature.lines)
    assert "Corrected by dr.okello" in said
    assert "Why: mislabelled" in said
    assert "Sample number: SAMPLE-77 in the place of SAMPLE-2." in said
    assert "1 cell named by a person." in said
    assert "Comment: seen again" in said
    assert (corrected.verdict.shape, corrected.verdict.by_person) == ("severe", True)
    assert corrected.facts[0].value == "SAMPLE-77"
    cells = [
        block for part in corrected.sections for block in part.blocks if isinstance(block, Cells)
    ]
    assert [cell.name for cell in cells[0].shown if cell.by_person] == ["Target cell"]


def test_the_code_and_the_words_name_the_same_place_in_the_chain(
    records: tuple[Writer, dict[str, str]],
) -> None:
    writer, named = records
    view = stored_view(writer, named["signed"], Words())
    head = writer.head()
    assert view.code == (
        f"edgehemo {named['signed']} version 2 signed chain {head} store {head.store[:8]}"
    )
    assert head.digits in text_of_pdf(report_pdf(view, "a4_one_page"))
    assert "tamper-evident" in view.audit[1]


def test_without_names_nothing_of_whose_it_is_is_printed(
    records: tuple[Writer, dict[str, str]],
) -> None:
    writer, named = records
    seen = View.of(writer, identified=False)
    for name in ("signed", "corrected"):
        text = text_of_pdf(report_pdf(stored_view(writer, named[name], Words(), seen=seen)))
        for secret in ("amina", "okello", "Kisumu", "SAMPLE-", "test device", "mislabelled"):
            assert secret not in text
        assert "2026-11\n" in text or "2026-11 " in text
        assert "2026-11-2" not in text


@pytest.mark.parametrize("paper", PAPERS)
def test_papers_have_their_size_and_are_archivable(
    records: tuple[Writer, dict[str, str]], paper: Paper
) -> None:
    writer, named = records
    file = report_pdf(stored_view(writer, named["corrected"], Words("fr")), paper)
    assert file == report_pdf(stored_view(writer, named["corrected"], Words("fr")), paper)
    read = pypdf.PdfReader(io.BytesIO(file))
    width, height = (float(side) * MM_PER_PT for side in read.pages[0].mediabox[2:])
    one = paper in ("a4_one_page", "roll_80mm")
    assert (len(read.pages) == 1) == one
    if paper == "roll_80mm":
        assert width == pytest.approx(80, abs=0.1)
    else:
        wanted = (215.9, 279.4) if paper == "letter" else (210.0, 297.0)
        assert (width, height) == pytest.approx(wanted, abs=0.5)
    root = read.trailer["/Root"]
    assert root["/Lang"].startswith("fr")
    assert root["/MarkInfo"]["/Marked"]
    assert "/StructTreeRoot" in root
    meta = root["/Metadata"].get_object().get_data().decode()
    assert "<pdfaid:part>2</pdfaid:part>" in meta
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in meta
    assert "<pdfuaid:part>1</pdfuaid:part>" in meta
    assert read.metadata.title.startswith("SIMULÉ")
    for page in read.pages:
        for font in page["/Resources"]["/Font"].values():
            (inner,) = font["/DescendantFonts"]
            descriptor = inner.get_object()["/FontDescriptor"]
            assert {"/FontFile2", "/FontFile3"} & set(descriptor), "a font is not embedded"
    if not one:
        last = read.pages[-1].extract_text()
        assert f"{len(read.pages)} sur {len(read.pages)}" in last
        assert NOTICE not in last


def test_one_page_holds_the_longest_first_page(reading: SampleReading, frames: list[Frame]) -> None:
    view = view_of(reading, frames, Words("fr"))
    long = replace(view, attention=view.attention + (replace_attention(view),) * 9)
    for paper in ("a4_one_page", "roll_80mm"):
        assert len(pypdf.PdfReader(io.BytesIO(report_pdf(long, paper))).pages) == 1


def replace_attention(view: ReportView) -> Any:
    from edgehemo.report.view import Attention

    return Attention(view.notice, view.notice)


def test_no_heading_is_left_at_the_foot_of_a_page(
    records: tuple[Writer, dict[str, str]],
) -> None:
    writer, named = records
    for name, result in named.items():
        view = stored_view(writer, result, Words("pt"))
        titles = {section.title for section in view.sections}
        for page in pypdf.PdfReader(io.BytesIO(report_pdf(view))).pages:
            lines = [line.strip() for line in page.extract_text().splitlines() if line.strip()]
            # The two lines of the footer come last.
            assert not titles & set(lines[-3:]), name


def test_a_hostile_name_stays_text(reading: SampleReading, frames: list[Frame]) -> None:
    record = json.loads(json.dumps(ScreeningResult(reading, provenance()).record))
    hostile = '#image("/etc/passwd") *x* `#panic()` $1$ <b>&amp;'
    record["labels"]["sample"] = hostile
    view = report_view(record, Words())
    text = text_of_pdf(report_pdf(view, "a4_one_page"))
    for part in ('#image("/etc/passwd")', "*x*", "#panic()", "$1$", "<b>&amp;"):
        assert part in text


def test_the_fields_are_shown_as_often_as_the_page_shows_them(
    reading: SampleReading, frames: list[Frame]
) -> None:
    view = view_of(reading, frames, Words())
    shown = [block for part in view.sections for block in part.blocks if isinstance(block, Fields)]
    assert [field.accepted for field in shown[0].shown] == [True, False, True]
    file = report_pdf(view)
    pictures = sum(len(page.images) for page in pypdf.PdfReader(io.BytesIO(file)).pages)
    assert pictures == report_html(view).count("data:image/jpeg")


def test_what_is_missing_is_named(
    reading: SampleReading, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins

    real: Callable[..., Any] = builtins.__import__

    def without(missing: str) -> Callable[..., Any]:
        def load(name: str, *args: Any, **more: Any) -> Any:
            if name == missing:
                raise ModuleNotFoundError(name)
            return real(name, *args, **more)

        return load

    view = replace(view_of(reading, frames, Words()), code="edgehemo 1", audit=("Records: 1.",))
    for missing in ("typst", "segno"):
        with monkeypatch.context() as patch:
            patch.setattr(builtins, "__import__", without(missing))
            with pytest.raises(
                MissingDependencyError, match=rf'{missing}.*pip install "\.\[pdf\]"'
            ):
                report_pdf(view)
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without("segno"))
        assert "Records: 1." in report_html(view)  # the page has its words, and no code


def test_the_template_is_shipped() -> None:
    assert Path(pdf_module.__file__).with_name("templates").joinpath("report.typ").is_file()
