"""Which part of the data a picture belongs to: one split for every model and for the manifest.

The split is written down in ``manifests/splits.json``. A picture belongs to the part of its group,
a group to the part of all groups that share a picture with it (exactly or by its look), and a
group that the record does not know to the part that a hash of its name gives. So the part depends
on the group alone, not on which other pictures there are, nor on their order.

Weights may stand on the split of an earlier version. What changed its part since is written down
as well (``manifests/moved.json``), task by task: see `ModelSplit`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_text_atomically

Part = Literal["train", "tune", "test"]
PARTS: tuple[Part, ...] = ("train", "tune", "test")

# Shares of the groups that no record knows: tune sets thresholds and score calibration, test is
# looked at once.
TUNE_SHARE = 0.10
TEST_SHARE = 0.15
# How the groups of a laboratory's own sets begin: no shipped weights were trained on them.
OWN_GROUP = "own/"
# Part of what is hashed: another value would be another split. Written into every checkpoint.
SPLIT_NAME = "edgehemo-2"
# The split of checkpoints that name none, and of all that were made before this one.
EARLIER_SPLIT = "edgehemo-1"

SPLITS_SCHEMA = "edgehemo.splits/2"
MOVES_SCHEMA = "edgehemo.split-moves/1"
_MANIFESTS = Path(__file__).with_name("manifests")
# The parts written down with this version of the project.
RECORDED_SPLITS = _MANIFESTS / "splits.json"
RECORDED_MOVES = _MANIFESTS / "moved.json"
# Hexadecimal digits of a SHA-256 that the record of the split keeps: 48 bits, so that two of
# 100,000 pictures agree by chance with a probability of 2e-5.
SHORT_DIGEST = 12

ModelT = TypeVar("ModelT", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class RecordedSplits(_Strict):
    """The split in short: parts by content and by group, and which groups are one.

    by_content: per part the first `SHORT_DIGEST` digits of every picture's SHA-256, joined.
    by_group: per part the united groups, a line each. united: group to the name it goes
    by, where that differs. duplicates: pictures that show one thing, short digests, each list one
    thing.
    """

    splits_schema: Literal["edgehemo.splits/2"] = Field(alias="schema")
    split: str
    by_content: dict[Part, str]
    by_group: dict[Part, str]
    united: dict[str, str]
    duplicates: list[list[str]]

    def part_of_content(self) -> dict[str, Part]:
        """Part by short digest."""
        return {
            joined[i : i + SHORT_DIGEST]: part
            for part, joined in self.by_content.items()
            for i in range(0, len(joined), SHORT_DIGEST)
        }

    def part_of_group(self) -> dict[str, Part]:
        """Part by united group."""
        return {group: part for part, names in self.by_group.items() for group in names.split("\n")}


class RecordedMoves(_Strict):
    """What changed its part from one split to the next.

    moves: by task and part that its training took pictures for, the pictures (`SetPicture.key`):
    by set their original names, a line each. A picture that is not named had the part that it has.
    table: the same as numbers, by task, source and ``train>test``; ``pictures`` says how many of
    the source the task read.
    """

    moves_schema: Literal["edgehemo.split-moves/1"] = Field(alias="schema")
    before: str
    after: str
    moves: dict[str, dict[Part, dict[str, str]]]
    table: dict[str, dict[str, dict[str, Annotated[int, Field(ge=0)]]]]

    def part_before(self, task: str) -> dict[str, Part]:
        """The part before, by key, of the pictures that a task took for another part."""
        return {
            f"{set_name}/{original}": part
            for part, by_set in self.moves.get(task, {}).items()
            for set_name, originals in by_set.items()
            for original in originals.split("\n")
        }


def hashed_part(group: str) -> Part:
    """The part of a group from a hash of its name: the same on every machine, for ever."""
    digest = hashlib.sha256(f"{SPLIT_NAME}/{group}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < TEST_SHARE:
        return "test"
    return "tune" if share < TEST_SHARE + TUNE_SHARE else "train"


def part_of(group: str) -> Part:
    """The part of a picture, by the group its set's reader gives it."""
    united = united_group(group)
    return _recorded_parts().get(united) or hashed_part(united)


def united_group(group: str) -> str:
    """The name a reader's group goes by in the shipped record; itself where it stands alone."""
    return _shipped_record().united.get(group, group)


def is_recorded(group: str) -> bool:
    """Whether the shipped record knows a group."""
    return united_group(group) in _recorded_parts()


class Grouped(Protocol):
    """Whatever shows a picture of a set. key: see `SetPicture.key`."""

    @property
    def group(self) -> str: ...

    @property
    def key(self) -> str: ...


GroupedT = TypeVar("GroupedT", bound=Grouped)


@dataclass(frozen=True)
class ModelSplit:
    """The split as one model may be measured by it.

    earlier: tasks of the runs behind its weights that stood on the split before. A picture whose
    part was another one in any of them has no part for this model: weights are never judged by
    what they were trained on. Nor has one that the record does not know, of which that cannot be
    told; a laboratory's own cells were in no earlier split.
    """

    earlier: tuple[str, ...] = ()

    def part_of(self, group: str, key: str) -> Part | None:
        """The part of a picture, None where the splits behind the weights disagree."""
        part = part_of(group)
        if group.startswith(OWN_GROUP):
            return part
        if self.earlier and not is_recorded(group):
            return None
        if any(_part_before(task).get(key, part) != part for task in self.earlier):
            return None
        return part

    def select(self, items: Iterable[GroupedT], part: Part) -> list[GroupedT]:
        """The items of one part, in their order."""
        return [item for item in items if self.part_of(item.group, item.key) == part]

    @property
    def says(self) -> str | None:
        """A sentence for whoever reads a figure; None where there is nothing to be said."""
        if not self.earlier:
            return None
        return (
            f"These weights were trained on the split {EARLIER_SPLIT}. They are measured only on "
            f"pictures that lie in the same part of {EARLIER_SPLIT} and of {SPLIT_NAME}: the "
            "others may have been trained on."
        )


# For weights that are made now.
CURRENT = ModelSplit()


def joint_split(splits: Iterable[ModelSplit]) -> ModelSplit:
    """What weights may be measured by that several runs stand behind."""
    return ModelSplit(tuple(sorted({task for split in splits for task in split.earlier})))


def model_split(task: str, record: Mapping[str, Any]) -> ModelSplit:
    """The split of a checkpoint, by its own record and those of the runs it began with or learnt
    from. Raises UsageError for a split that this version does not know.
    """
    earlier = []
    for run_task, run in _runs(task, record):
        name = run.get("split") or EARLIER_SPLIT
        if name not in (SPLIT_NAME, EARLIER_SPLIT):
            raise UsageError(
                f"the weights were trained on the split {name!r}; this version knows {SPLIT_NAME} "
                f"and {EARLIER_SPLIT}: use the version that trained them"
            )
        if name == EARLIER_SPLIT:
            earlier.append(run_task)
    return ModelSplit(tuple(sorted(set(earlier))))


def _runs(task: str, record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield task, record
    for key in ("initialised_from", "taught_by"):
        before = record.get(key)
        if isinstance(before, Mapping):
            yield from _runs(str(before.get("task", task)), before)


def read_recorded_splits(path: Path = RECORDED_SPLITS) -> RecordedSplits:
    """The record of a split; UsageError where the file is none."""
    return read_strictly(path, RecordedSplits, SPLITS_SCHEMA, "edgehemo dataset manifest --record")


def write_recorded_splits(path: Path, splits: RecordedSplits) -> None:
    """Write the record of a split as compact JSON."""
    content = splits.model_dump(mode="json", by_alias=True)
    write_text_atomically(path, json.dumps(content, separators=(",", ":")) + "\n")


def read_recorded_moves(path: Path = RECORDED_MOVES) -> RecordedMoves:
    """What changed its part since the split before; UsageError where the file does not say it."""
    return read_strictly(path, RecordedMoves, MOVES_SCHEMA, "a new copy of this software")


def read_strictly(path: Path, kind: type[ModelT], schema: str, maker: str) -> ModelT:
    """A JSON file of one of our records; UsageError names what is wrong and what writes it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); `{maker}` writes it"
        ) from None
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{path.name}: not a record of {schema} ({where}: {first['msg'].lower()}); "
            f"build it again with `{maker}`"
        ) from None


def strictest(parts: Iterable[Part]) -> Part:
    """Of several parts the one that is held out most strictly; ValueError for none."""
    return max(parts, key=PARTS.index)


def joined_by_part(items: Sequence[tuple[str, Part]], separator: str) -> dict[Part, str]:
    """Names of each part, sorted, once each, as one string."""
    return {
        part: separator.join(sorted({name for name, own in items if own == part})) for part in PARTS
    }


@cache
def _shipped_record() -> RecordedSplits:
    return read_recorded_splits()


@cache
def _recorded_parts() -> Mapping[str, Part]:
    return _shipped_record().part_of_group()


@cache
def _part_before(task: str) -> Mapping[str, Part]:
    return read_recorded_moves().part_before(task)
