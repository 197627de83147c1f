"""Counts agree with their nouns, in English and in the languages that have a catalogue."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import edgehemo
from edgehemo.words.counted import counted
from edgehemo.words.language import Words, wanted_texts

# A count and, a word or two later, a noun in the plural: it would be wrong of one.
COUNT = re.compile(
    r"\{(?:n|all|days|results|fields|cells|entries|contents|samples)\} (?!is\b)(?:\w+ )?\w+s\b"
)
# What is never one: a constant of the program, or a number with decimals.
NEVER_ONE = (
    "runs of the slide on several days",
    "days with samples",
    "last {n} days",
    "in {n} days",
    "In {n} days",
    "single red cells",
    "pixels a millimetre",
)


def test_a_count_of_one_has_its_noun_alone() -> None:
    assert counted(1, "result") == "1 result"
    assert counted(0, "result") == "0 results"
    assert counted(1, "entry", "entries") == "1 entry"
    assert counted(2, "entry", "entries") == "2 entries"


def test_a_plural_takes_other_values_beside_its_count() -> None:
    one, many = "{held} of {n} result is in it", "{held} of {n} results are in it"
    assert Words().n_(one, many, 1, held=1) == "1 of 1 result is in it"
    assert Words().n_(one, many, 1200, held="7") == "7 of 1,200 results are in it"


@pytest.mark.parametrize("suffix", [".py", ".html.j2"])
def test_no_text_of_a_page_counts_one_as_many(suffix: str) -> None:
    found = []
    for path in Path(edgehemo.__file__).parent.rglob(f"*{suffix}"):
        for said in re.findall(r'(?<!n)_\(\s*"((?:[^"\\]|\\.)*)"', path.read_text("utf-8")):
            if COUNT.search(said) and not any(each in said for each in NEVER_ONE):
                found.append(f"{path.name}: {said}")
    assert not found
    assert len(wanted_texts()) > 500
