"""The catalogue of codes: whole, used, in plain sentences, and ready for translators."""

from __future__ import annotations

import ast
import gettext
import html
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import edgehemo.errors
from edgehemo.cli import run
from edgehemo.errors import EXIT_DONE, EdgeHemoError, KioskBusyError
from edgehemo.guidance import catalogue as catalogue_module
from edgehemo.guidance.catalogue import CATALOGUE_FILE, catalogue, guidance, placeholders
from edgehemo.guidance.codes import (
    Advice,
    CameraCode,
    Code,
    DeviceCode,
    DoubtCode,
    DriftCode,
    ErrorCode,
    FindingCode,
    Kind,
    KioskCode,
    QualityCode,
    SendingCode,
    ValueCode,
    WithheldCode,
)
from edgehemo.guidance.messages import extract, texts
from edgehemo.guidance.page import HEADINGS, catalogue_markdown, help_page, help_text
from edgehemo.guidance.withheld import not_given, withheld
from tests.support.pages import faults_of_page

ROOT = Path(edgehemo.errors.__file__).parents[1]
SOURCES = ("edgehemo", "calibration", "export", "firmware_config")
# Code of each kind -> its type.
TYPES: dict[Kind, object] = {
    "quality": QualityCode,
    "camera": CameraCode,
    "capture": Advice,
    "withheld": WithheldCode,
    "doubt": DoubtCode,
    "finding": FindingCode,
    "value": ValueCode,
    "device": DeviceCode,
    "drift": DriftCode,
    "kiosk": KioskCode,
    "sending": SendingCode,
    "error": ErrorCode,
}
# What brings a code to a person: function -> where its code stands among the arguments. The other
# names are keywords whose value is a code.
EMITTERS: dict[str, tuple[int, ...]] = {
    "guidance": (0,),
    "flagged": (3,),
    "capture_error": (0,),
    "withheld": (0,),
    "Withheld": (0,),
    "doubt": (0,),
    "Doubt": (0,),
    "sample_finding": (0,),
    "SampleFinding": (0,),
    "not_given": (0,),
    "NotGiven": (0,),
    "trouble": (2,),
    "Finding": (4,),
    "Check": (4,),
    "judged": (),
    "_where_measured": (2,),
    "Failed": (0,),
    "Refused": (0,),
    "NotMade": (0,),
}
CODE_KEYWORDS = frozenset({"low", "high", "code"})
# Functions whose keywords are the values of a code's texts, and those that are none of them.
FILLING = {
    "guidance": {"language"},
    "withheld": {"action"},
    "doubt": set[str](),
    "sample_finding": set[str](),
    "not_given": set[str](),
    "trouble": set[str](),
}


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def called(node: ast.Call) -> str:
    function = node.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def constants(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and inner.value:
            yield inner.value


def emitted_by_calls() -> Iterator[tuple[str, str]]:
    """Every constant that stands where a call takes a code, with where it stands."""
    for path, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or called(node) not in EMITTERS:
                continue
            given = [node.args[at] for at in EMITTERS[called(node)] if at < len(node.args)]
            given += [item.value for item in node.keywords if item.arg in CODE_KEYWORDS]
            for value in given:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value, f"{path.relative_to(ROOT)}:{node.lineno}"


def mentioned() -> set[str]:
    """Every string of the source outside the guidance itself, docstrings aside."""
    found: set[str] = set()
    for path, tree in modules():
        if path.parent.name != "guidance":
            found |= set(constants(tree))
    return found


def error_classes() -> list[type[EdgeHemoError]]:
    found, waiting = [], [EdgeHemoError]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += one.__subclasses__()
    return found


def test_types_and_catalogue_hold_the_same_codes() -> None:
    assert set(TYPES) == set(get_args(Kind)) == set(HEADINGS)
    for kind, codes in TYPES.items():
        told = [code for code, entry in catalogue().items() if entry.kind == kind]
        assert told == list(get_args(codes)), kind
    assert sum(len(get_args(codes)) for codes in TYPES.values()) == len(catalogue())


def test_every_code_that_the_source_emits_is_in_the_catalogue() -> None:
    seen = dict(emitted_by_calls())
    assert len(seen) > 60, "the scan finds the calls"
    seen = {code: where for code, where in seen.items() if code not in catalogue()}
    # `cell_count`'s neighbours take other keywords of these names; a code is in capitals.
    unknown = {
        code: where for code, where in seen.items() if re.fullmatch(r"[A-Z][A-Z0-9_]+", code)
    }
    assert not unknown


def test_every_code_of_the_catalogue_is_emitted() -> None:
    emitted = mentioned() | {error.code for error in error_classes()}
    assert not set(catalogue()) - emitted


def test_every_error_of_the_project_has_a_code_of_its_own() -> None:
    # The device's own: tools of the workstation go by the general ones.
    ours = [error for error in error_classes() if error.__module__.split(".")[0] == "edgehemo"]
    assert KioskBusyError in ours, "the kiosk's own count as well"
    # A case of another error goes by that one's code.
    codes = [error.code for error in ours if "code" in vars(error)]
    # Errors that are faults of the kiosk go by the faults' codes.
    assert set(codes) - set(get_args(KioskCode)) == set(get_args(ErrorCode))
    assert len(codes) == len(set(codes))


def test_the_values_given_are_those_the_texts_have_places_for() -> None:
    checked = 0
    for path, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or called(node) not in FILLING:
                continue
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            if any(item.arg is None for item in node.keywords):
                continue
            at = EMITTERS[called(node)][0]
            code = node.args[at] if at < len(node.args) else None
            if not isinstance(code, ast.Constant):
                continue
            entry = catalogue()[code.value]  # type: ignore[index]
            names = {item.arg for item in node.keywords} - FILLING[called(node)]
            assert names == placeholders(entry.reason) | placeholders(entry.action), where
            checked += 1
    assert checked > 50


def test_every_text_is_short_plain_sentences() -> None:
    for code, entry in catalogue().items():
        assert re.fullmatch(r"[A-Z][A-Z0-9_]+", code)
        assert entry.title[0].isupper() and not entry.title.endswith("."), code
        assert entry.meaning[0].isupper(), code
        assert entry.meaning.endswith("."), code
        assert entry.action[0].isupper(), code
        # A command that is to be copied has no full stop behind it.
        assert entry.action.endswith(".") or entry.action.startswith("Run: "), code
        assert not placeholders(entry.title) and not placeholders(entry.meaning), code
        for text in (entry.meaning, entry.action):
            for sentence in re.split(r"(?<=[.!?]) ", text):
                assert len(sentence.split()) <= 30, (code, sentence)
        if entry.kind in ("withheld", "doubt", "finding", "value", "drift"):
            assert entry.reason and not entry.reason.endswith("."), code
        else:
            assert not entry.reason, code


def test_places_are_filled_and_a_missing_value_shows_its_name() -> None:
    told = withheld("CONTROL_DUE", at="2026-01-02 03:04", hours=26)
    assert told.reason == "the last control check, 2026-01-02 03:04, is more than 26 hours old"
    assert told.code == "CONTROL_DUE" and told.action == catalogue()["CONTROL_DUE"].action
    assert not_given("PART_MISSING", part="RBC").reason == "needs RBC"
    assert guidance("CONTROL_DUE").reason.endswith("is more than {hours} hours old")
    with pytest.raises(KeyError):
        guidance("NOT_A_CODE")  # type: ignore[arg-type]


def test_an_action_may_stand_in_for_the_catalogues() -> None:
    told = withheld("NO_FIELD_ACCEPTED", action="Focus.", fields=2, checks="focus (2)")
    assert told.action == "Focus." and "2 fields" in told.reason


def written_translation(folder: Path, messages: dict[str, str]) -> None:
    """A compiled gettext catalogue, as the format's description says (GNU gettext, MO files)."""
    pairs = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **messages}.items())
    count, start = len(pairs), 28
    ids = b"".join(key.encode() + b"\0" for key, _ in pairs)
    told = b"".join(value.encode() + b"\0" for _, value in pairs)
    header = struct.pack("<7I", 0x950412DE, 0, count, start, start + 8 * count, 0, 0)
    tables, at = b"", start + 16 * count
    for index in (0, 1):
        for pair in pairs:
            size = len(pair[index].encode())
            tables += struct.pack("<2I", size, at)
            at += size + 1
    target = folder / "xx" / "LC_MESSAGES" / f"{catalogue_module.DOMAIN}.mo"
    target.parent.mkdir(parents=True)
    target.write_bytes(header + tables + ids + told)
    with target.open("rb") as stream:
        assert gettext.GNUTranslations(stream).gettext(pairs[1][0]) == pairs[1][1]


def test_a_translation_orders_the_values_as_its_language_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = catalogue()["CONTROL_DUE"]
    written_translation(tmp_path, {entry.reason: "{hours} h: {at}", entry.title: "Due"})
    monkeypatch.setattr(catalogue_module, "LOCALE_DIR", tmp_path)
    catalogue_module.translations.cache_clear()
    try:
        told = guidance("CONTROL_DUE", "xx", at="today", hours=26)
        assert (told.title, told.reason) == ("Due", "26 h: today")
        assert told.action == entry.action, "what is not translated is given in English"
        assert guidance("CONTROL_DUE", "yy").title == entry.title
    finally:
        catalogue_module.translations.cache_clear()


def test_translators_get_every_text_with_its_line() -> None:
    lines = CATALOGUE_FILE.read_text(encoding="utf-8").splitlines()
    with CATALOGUE_FILE.open("rb") as stream:
        found = list(extract(stream, (), (), {}))
    assert [message for _, _, message, _ in found] == [text for _, _, text in texts(catalogue())]
    for number, function, message, comments in found:
        assert function == "gettext"
        assert message.replace('"', r"\"") in lines[number - 1]
        kept = placeholders(message)
        assert all(f"{{{name}}}" in comments[-1] for name in kept)
        assert len(comments) == (2 if kept else 1)


def test_the_help_page_holds_every_code_and_needs_no_network(tmp_path: Path) -> None:
    path = tmp_path / "help.html"
    assert run(["quality", "--help-page", str(path)]) == EXIT_DONE
    page = path.read_text(encoding="utf-8")
    assert page == help_page()
    for code, entry in catalogue().items():
        assert f'id="{code}"' in page
        assert entry.meaning in html.unescape(page)
        if not placeholders(entry.action):
            assert entry.action in html.unescape(page)
    assert "://" not in page
    assert not faults_of_page(page)
    assert "{" not in page.rpartition("</style>")[2]


def test_the_codes_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quality", "--codes"]) == EXIT_DONE
    printed = capsys.readouterr().out.strip()
    assert printed == help_text()
    assert all(f"\n{code}: " in printed for code in catalogue())


def test_the_markdown_page_holds_every_code_and_heading() -> None:
    page = catalogue_markdown()
    for code in catalogue():
        assert f'<a id="{code}"></a>' in page
    assert all(f"\n## {heading}\n" in page for heading in HEADINGS.values())
    # A place for a value is shown, not taken for a tag of HTML.
    assert "&lt;profile>" in page
    assert not re.search(r"<(?!/?a\b)", re.sub(r"`[^`]*`", "", page))


def test_the_code_type_is_all_kinds_together() -> None:
    together = {code for part in get_args(Code) for code in get_args(part)}
    assert together == set(catalogue())
