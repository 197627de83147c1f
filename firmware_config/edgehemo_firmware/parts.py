"""Parts of a device profile: boards, cameras, screens, clocks and sites, a small TOML file each.

A part says what differs because of it: keys of the device configuration below ``[device]``, and
below ``[system]`` what the operating system must be told. Parts are laid over one another in the
order given (`edgehemo_firmware.composing`). A part of one's own is named by its file.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, field

from edgehemo.errors import DeviceError
from edgehemo.files.strict import Record, RecordError, Text

PART_SCHEMA: Literal["edgehemo.device-part/1"] = "edgehemo.device-part/1"
PartKind = Literal["board", "camera", "screen", "clock", "site"]
PART_KINDS: tuple[PartKind, ...] = get_args(PartKind)
# Of these a device has one; of the others a later one overlays an earlier one as well.
ONE_EACH: tuple[PartKind, ...] = ("board", "camera", "screen", "clock")
# A part is a page of text; more is not one.
_MAX_BYTES = 50_000
_SUFFIX = ".toml"
_TABLE = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.-]+)\s*\]?\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+)\s*=")

ConfigLine = Annotated[str, Meta(pattern=r"^[a-z0-9_]+=[\x21-\x7e]{1,200}\Z")]
PackageName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9+.-]{1,80}\Z")]


class SystemSection(Record, frozen=True, kw_only=True):
    """config_txt: lines that a Raspberry Pi's firmware reads (config.txt). packages: of the
    distribution, which this part needs. screen: whether a browser runs on the device's own screen;
    none where a part does not say.
    """

    config_txt: tuple[ConfigLine, ...] = ()
    packages: tuple[PackageName, ...] = ()
    screen: bool | None = None


class PartFile(Record, frozen=True, kw_only=True):
    """kind: what it is a part of. title: what it is, for people. runs: of a board, what it can do.
    models: of a board, how what it calls itself begins. system: what the operating system is told.
    device: keys of the device configuration.
    """

    schema: Literal["edgehemo.device-part/1"]
    kind: PartKind
    title: Text
    runs: str = ""
    models: tuple[str, ...] = ()
    system: SystemSection = field(default_factory=SystemSection)
    device: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that was read. name: of a shipped one, or the file. origin: file, for messages. lines:
    dotted key of the device configuration -> line of the file it stands on.
    """

    name: str
    origin: str
    content: PartFile
    lines: Mapping[str, int]


def shipped_names() -> dict[str, PartKind]:
    """Name -> kind of every part that comes with this package, by kind and name."""
    return {name: kind for kind in PART_KINDS for name in sorted(_texts(kind))}


def read_part(name: str) -> Part:
    """A shipped part by its name, or one of one's own by its file (a path or ``*.toml``).

    Raises DeviceError: each problem of the part on a line of its own.
    """
    if "/" in name or name.endswith(_SUFFIX):
        return parsed(name, name, _text_of(Path(name)))
    for kind in PART_KINDS:
        if (text := _texts(kind).get(name)) is not None:
            return parsed(name, f"{_folder(kind)}/{name}{_SUFFIX}", text)
    known = shipped_names()
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise DeviceError(f"no part is called {name!r}; {hint} One's own is named by its file")


def read_parts(names: Sequence[str]) -> tuple[Part, ...]:
    """All of them; DeviceError with what is wrong of any."""
    found, wrong = [], []
    for name in names:
        try:
            found.append(read_part(name))
        except DeviceError as error:
            wrong += str(error).splitlines()
    wrong += doubled(found)
    if wrong:
        raise DeviceError("\n".join(wrong))
    return tuple(found)


def doubled(parts: Sequence[Part]) -> Iterator[str]:
    """What a device has one of, and was given two."""
    for kind in ONE_EACH:
        of_kind = [part.name for part in parts if part.content.kind == kind]
        if len(of_kind) > 1:
            yield f"a device has one {kind}: {' and '.join(of_kind)} are given; leave one out"


def parsed(name: str, origin: str, text: str) -> Part:
    """A part from its text. Raises DeviceError, a line for each problem."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DeviceError(f"{origin}: is not valid TOML ({error})") from None
    try:
        content = PartFile.model_validate(raw)
    except RecordError as error:
        lines = lines_of(text)
        raise DeviceError(
            "\n".join(
                f"{origin}{_at(lines.get(problem.place))}: {problem.place}: {problem.message}"
                for problem in error.problems
            )
        ) from None
    inside = "device."
    lines = {
        key.removeprefix(inside): number
        for key, number in lines_of(text).items()
        if key.startswith(inside)
    }
    return Part(name, origin, content, lines)


def lines_of(text: str) -> dict[str, int]:
    """Dotted key -> line (from 1) it stands on; of a table the line of its head."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if table := _TABLE.match(line):
            section = table.group(1)
            found.setdefault(section, number)
            section += "."
        elif key := _KEY.match(line):
            found.setdefault(section + key.group(1), number)
    return found


def board_of(model: str) -> str | None:
    """The shipped board whose models a computer's own name begins with; None where none does."""
    for name, text in _texts("board").items():
        if model.startswith(parsed(name, name, text).content.models or ("\0",)):
            return name
    return None


def _at(line: int | None) -> str:
    return "" if line is None else f" line {line}"


def _folder(kind: PartKind) -> str:
    return f"{kind}s"


def _texts(kind: PartKind) -> dict[str, str]:
    folder = files("edgehemo_firmware").joinpath("parts", _folder(kind))
    return {
        item.name.removesuffix(_SUFFIX): item.read_text("utf-8")
        for item in folder.iterdir()
        if item.name.endswith(_SUFFIX)
    }


def _text_of(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise DeviceError(
                f"{file}: is larger than {_MAX_BYTES // 1000} kB, too large for a part"
            )
        return file.read_text("utf-8")
    except OSError as error:
        raise DeviceError(f"{file}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise DeviceError(f"{file}: is not UTF-8 text") from None
