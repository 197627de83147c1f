"""Strict records: what they take, what they refuse, and that they come back as they went."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, field

from edgehemo.files.strict import Problem, Record, RecordError, keys_of


class Part(Record, frozen=True, kw_only=True):
    share: Annotated[float, Meta(ge=0, le=1)]
    counts: list[Annotated[int, Meta(gt=0)]] = field(default_factory=list)


class Free(Record, frozen=True, kw_only=True):
    value: float


class Pair(Record, frozen=True, kw_only=True):
    """What its own check finds it names by place."""

    first: float
    second: float

    def __post_init__(self) -> None:
        found = [Problem("first", "must not be negative")] if self.first < 0 else []
        if self.second < self.first:
            found.append(Problem("second", "must not be below first"))
        if found:
            raise RecordError(found)


class Whole(Record, frozen=True, kw_only=True):
    schema: Literal["whole/1"]
    name: Annotated[str, Meta(max_length=8, pattern=r"^[a-z]+\Z")]
    low: float | None = None
    high: float | None = None
    made_at: datetime
    said: dict[str, str | int | float | list[str]] = field(default_factory=dict)
    part: Part | None = None
    parts: list[Part] = field(default_factory=list)
    by_name: dict[str, Part] = field(default_factory=dict)
    pair: Pair | None = None
    whole: Part = field(default_factory=lambda: Part(share=1.0))

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("high must not be below low")


LEAST: dict[str, Any] = {"schema": "whole/1", "name": "a", "made_at": "2026-11-01T10:00:00Z"}


def places_of(**changes: Any) -> dict[str, str]:
    """Messages by place."""
    with pytest.raises(RecordError) as caught:
        Whole.model_validate({**LEAST, **changes})
    return {problem.place: problem.message for problem in caught.value.problems}


def test_it_comes_back_from_json_as_it_went() -> None:
    whole = Whole.model_validate(
        {
            **LEAST,
            "low": 1,
            "pair": {"first": 1, "second": 2},
            "said": {"a": 1, "b": 1.5, "c": "x", "d": ["y"]},
            "parts": [{"share": 0.5, "counts": [1, 2]}],
        }
    )
    assert isinstance(whole.low, float) and isinstance(whole.said["a"], int)
    assert whole.made_at == datetime(2026, 11, 1, 10, tzinfo=UTC)
    text = whole.model_dump_json(indent=2)
    assert json.loads(text)["made_at"] == "2026-11-01T10:00:00Z"
    assert json.loads(text) == whole.model_dump()
    assert Whole.model_validate(json.loads(text)) == whole
    assert "low" not in Whole.model_validate(LEAST).model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"surprise": 1}, "surprise"),
        ({"schema": "whole/2"}, "schema"),
        ({"schema_": "whole/1"}, "schema_"),
        ({"name": 3}, "name"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 9}, "name"),
        ({"name": "a\n"}, "name"),
        ({"low": True}, "low"),
        ({"low": "1"}, "low"),
        ({"low": 2.0, "high": 1.0}, ""),
        ({"made_at": 5}, "made_at"),
        ({"said": {"a": None}}, "said[...]"),
        ({"parts": {}}, "parts"),
        ({"parts": [3]}, "parts[0]"),
        ({"parts": [{}]}, "parts[0].share"),
        ({"by_name": {"a": {"share": 2}}}, "by_name.a.share"),
        ({"low": float("inf")}, "low"),
        ({"said": {"a": float("nan")}}, "said.a"),
        ({"pair": {"first": 2.0, "second": 1.0}}, "pair.second"),
        ({"pair": {"first": -1.0, "second": 1.0}}, "pair.first"),
        ({"parts": [{"share": float("nan")}]}, "parts[0].share"),
        ({"parts": [{"share": 1.5}]}, "parts[0].share"),
        ({"parts": [{"share": 1, "counts": [1, 0]}]}, "parts[0].counts[1]"),
        ({"parts": [{"share": 1, "counts": [1.5]}]}, "parts[0].counts[0]"),
        ({"parts": [{"share": 1, "counts": [True]}]}, "parts[0].counts[0]"),
        ({"whole": {"share": 2.0}}, "whole.share"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], place: str) -> None:
    assert list(places_of(**changes)) == [place]


def test_every_problem_is_told_at_once() -> None:
    found = places_of(name=1, low="x", whole={"share": 2, "more": 0}, surprise=None)
    assert set(found) == {"name", "low", "whole.share", "whole.more", "surprise"}
    found = places_of(
        parts=[{"share": 2}, {"share": 0.5}, {}], low=float("nan"), pair={"first": -1, "second": -2}
    )
    assert set(found) == {"parts[0].share", "parts[2].share", "low", "pair.first", "pair.second"}
    with pytest.raises(RecordError, match="name: is missing"):
        Whole.model_validate({"schema": "whole/1"})


def test_what_code_made_wrong_is_not_written() -> None:
    assert json.loads(Part(share=np.float32(0.5), counts=[np.int64(3)]).model_dump_json()) == {  # type: ignore[arg-type, list-item]
        "share": 0.5,
        "counts": [3],
    }
    for share in (1.5, float("nan")):
        with pytest.raises(RecordError, match="share"):
            Part(share=share).model_dump_json()
    # JSON has no NaN; where there is no limit either, it must not be written as null.
    with pytest.raises(RecordError, match="value"):
        Free(value=float("nan")).model_dump_json()


def test_checked_is_what_will_be_read_again() -> None:
    part = Part(share=1, counts=(np.int64(3),))  # type: ignore[arg-type]
    checked = part.checked()
    assert type(checked.share) is float and checked.counts == [3]
    with pytest.raises(RecordError, match="share"):
        Part(share=2.0).checked()


def test_deep_nesting_is_refused_and_not_fallen_over() -> None:
    deep: Any = 1.0
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(RecordError, match="surprise"):
        Whole.model_validate({**LEAST, "surprise": deep})


def test_records_are_frozen_compared_by_value_and_copied() -> None:
    part = Part(share=0.5)
    with pytest.raises(AttributeError):
        part.share = 0.25  # type: ignore[misc]
    assert part.model_copy(update={"share": 0.25}).share == 0.25 and part.share == 0.5
    assert part == Part(share=0.5) != Part(share=0.25)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*keys_of(Whole), "other"]), anything))
def test_any_value_is_a_record_or_a_list_of_problems(values: dict[str, Any]) -> None:
    try:
        whole = Whole.model_validate({**LEAST, **values})
    except RecordError as error:
        assert error.problems and str(error)
    else:
        assert whole.schema == "whole/1"
