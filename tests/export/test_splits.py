"""The split: one part a picture, whatever else there is; and weights of an earlier split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.errors import UsageError
from edgehemo_export.data.sets.picture import FIELDS_PER_BLOCK, lmu_group, pbc_group
from edgehemo_export.data.sets.txl_pbc import raabin_group
from edgehemo_export.data.splits import (
    CURRENT,
    EARLIER_SPLIT,
    PARTS,
    SPLIT_NAME,
    ModelSplit,
    Part,
    hashed_part,
    is_recorded,
    joined_by_part,
    model_split,
    part_of,
    read_recorded_moves,
    read_recorded_splits,
    strictest,
    united_group,
)


@dataclass(frozen=True)
class Item:
    """A picture as far as a split looks at it."""

    group: str
    key: str = ""


# Groups as the readers name them, recorded or not, and what nobody ever named.
GROUPS = st.one_of(
    st.integers(0, 450).map(lambda n: f"bccd-{n // FIELDS_PER_BLOCK:03d}"),
    st.integers(0, 800).map(lambda n: f"chula_rbc12-{n // FIELDS_PER_BLOCK:03d}"),
    st.tuples(st.sampled_from(["BA", "MMY", "SNE"]), st.integers(0, 999_999)).map(
        lambda name: pbc_group(f"{name[0]}_{name[1]}")
    ),
    st.sampled_from(sorted(read_recorded_splits().united)),
    st.text(max_size=12),
)


def parts_of(items: list[Item], split: ModelSplit = CURRENT) -> dict[Part, list[Item]]:
    return {part: split.select(items, part) for part in PARTS}


@given(st.lists(GROUPS, max_size=30), st.randoms(use_true_random=False))
def test_the_part_does_not_depend_on_order_or_on_what_else_there_is(
    groups: list[str], chance: Any
) -> None:
    items = [Item(group, f"s/{i}") for i, group in enumerate(groups)]
    whole = {item: part for part, found in parts_of(items).items() for item in found}
    assert len(whole) == len(items), "every picture has one part"
    turned = items.copy()
    chance.shuffle(turned)
    some = turned[: len(turned) // 2]
    for item, part in ((i, p) for p, found in parts_of(some).items() for i in found):
        assert whole[item] == part


@given(st.lists(GROUPS, min_size=1, max_size=30))
def test_no_group_is_divided_and_united_ones_go_together(groups: list[str]) -> None:
    by_united: dict[str, set[Part]] = {}
    for group in groups * 2:
        by_united.setdefault(united_group(group), set()).add(part_of(group))
        assert united_group(united_group(group)) == united_group(group)
    assert all(len(parts) == 1 for parts in by_united.values())


@given(st.integers(0, 999_999), st.integers(0, 199))
def test_neighbours_of_one_block_are_in_one_part(number: int, further: int) -> None:
    first = number // 200 * 200
    assert part_of(pbc_group(f"BA_{first}")) == part_of(pbc_group(f"BA_{first + further}"))
    assert part_of(lmu_group(f"NGS_{number // 50 * 50:06d}")) == part_of(
        lmu_group(f"NGS_{number // 50 * 50 + further % 50:06d}")
    )


def test_a_name_nobody_recorded_goes_by_its_hash_in_fixed_shares() -> None:
    names = [f"a new slide {i}" for i in range(4000)]
    assert not any(is_recorded(name) for name in names)
    shares = Counter(part_of(name) for name in names)
    assert 0.13 < shares["test"] / len(names) < 0.17
    assert 0.08 < shares["tune"] / len(names) < 0.12
    # For ever: a checkpoint that names this split stands on these parts.
    wanted = ["train", "train", "tune", "train", "tune", "train"]
    assert [hashed_part(f"slide {i}") for i in range(6)] == wanted


def test_of_several_parts_the_one_held_out_most_strictly_wins() -> None:
    assert strictest(["train", "test", "tune"]) == "test"
    assert strictest(["train", "tune"]) == "tune"
    joined = joined_by_part([("b", "test"), ("a", "test"), ("c", "train"), ("a", "test")], "\n")
    assert joined == {"train": "c", "tune": "", "test": "a\nb"}


def test_the_record_is_whole_and_of_this_split() -> None:
    record = read_recorded_splits()
    assert record.split == SPLIT_NAME == "edgehemo-2"
    by_group = record.part_of_group()
    assert sum(len(names.split("\n")) for names in record.by_group.values()) == len(by_group)
    assert set(record.united.values()) <= set(by_group)
    assert not set(record.united) & set(by_group)
    contents = record.part_of_content()
    assert sum(len(digits) for digits in record.by_content.values()) == 12 * len(contents)
    for same in record.duplicates:
        assert len({contents[digest] for digest in same}) == 1
    assert part_of(raabin_group("95-5-5-1_1_1")) == part_of(raabin_group("95-5-4-1_1_1"))


# --- weights of an earlier split -----------------------------------------------------------------


def moved(task: str) -> tuple[str, Part]:
    """A picture that a task took for another part, by its key, and that part."""
    return next(iter(read_recorded_moves().part_before(task).items()))


def test_weights_of_this_split_are_measured_by_it_alone() -> None:
    split = model_split("cell_finder", {"split": SPLIT_NAME, "initialised_from": None})
    assert split == CURRENT and split.says is None
    assert split.part_of("anything new", "") == part_of("anything new")


@pytest.mark.parametrize("record", [{}, {"split": None}, {"split": EARLIER_SPLIT}])
def test_weights_of_the_earlier_split_are_not_measured_on_what_moved(
    record: Mapping[str, Any],
) -> None:
    """One whose record names no split stands on the earlier one, too."""
    split = model_split("cell_finder", record)
    key, before = moved("cell_finder")
    group = "chula_rbc12-000"
    assert split.part_of(group, key) is None or before == part_of(group)
    other = next(part for part in PARTS if part != before)
    groups = (name for name in read_recorded_splits().part_of_group() if part_of(name) == other)
    assert split.part_of(next(groups), key) is None
    assert split.part_of(group, "bccd/BloodImage_00000") == part_of(group)
    # Of a picture that nothing is known of it cannot be told whether it was trained on.
    assert split.part_of("txl-b-2", "txl_pbc/b-2") is None
    assert split.says is not None and EARLIER_SPLIT in split.says and SPLIT_NAME in split.says


def test_the_runs_that_weights_began_with_or_learnt_from_count_as_well() -> None:
    old = {"task": "nucleated", "split": EARLIER_SPLIT}
    begun = {"split": SPLIT_NAME, "initialised_from": {"task": "nucleated"}}
    taught = {"split": SPLIT_NAME, "taught_by": {**old, "initialised_from": {"task": "morphology"}}}
    assert model_split("nucleated", begun).earlier == ("nucleated",)
    assert model_split("nucleated", taught).earlier == ("morphology", "nucleated")
    assert model_split("nucleated", {**taught, **begun}).earlier == ("morphology", "nucleated")
    since = {"split": SPLIT_NAME, "initialised_from": {"task": "nucleated", "split": SPLIT_NAME}}
    assert model_split("nucleated", since) == CURRENT


def test_a_split_of_another_version_is_refused() -> None:
    with pytest.raises(UsageError, match="'edgehemo-3'; this version knows edgehemo-2"):
        model_split("nucleated", {"split": "edgehemo-3"})


def test_the_moves_are_those_of_their_table() -> None:
    moves = read_recorded_moves()
    assert (moves.before, moves.after) == (EARLIER_SPLIT, SPLIT_NAME)
    tasks = {"cell_finder", "nucleated", "morphology", "field_estimator", "anaemia_screen"}
    assert set(moves.table) == set(moves.moves) == tasks
    for task, by_source in moves.table.items():
        told = Counter[str]()
        for counts in by_source.values():
            for change, count in counts.items():
                told[change.split(">")[0]] += count if change != "pictures" else 0
        told.pop("pictures")
        assert +told == Counter(moves.part_before(task).values())
    # The test parts that shipped figures stand on kept most of their pictures.
    lost = Counter(moves.part_before("cell_finder").values())["test"]
    assert lost <= 21 and not moves.part_before("morphology")
