"""What docstrings, comments and pages name must exist: a name that is gone misleads its reader."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "edgehemo": ROOT / "edgehemo",
    "edgehemo_export": ROOT / "export" / "edgehemo_export",
    "edgehemo_calibration": ROOT / "calibration" / "edgehemo_calibration",
    "edgehemo_laboratory": ROOT / "export" / "edgehemo_laboratory",
    "edgehemo_firmware": ROOT / "firmware_config" / "edgehemo_firmware",
}
FOLDERS = ("edgehemo", "export", "calibration", "firmware_config", "docs", "tests", "benchmarks",
           "examples")  # fmt: skip
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
# The change log tells of what is gone, too.
PAGES = sorted(
    {*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).glob("**/*.md"))}
    - {ROOT / "CHANGELOG.md"}
)
# One name between backticks, a call's parentheses aside; code blocks have three of them.
_NAMED = re.compile(r"(?<!`)`{1,2}([A-Za-z_]\w*(?:\.\w+)*)(?:\(\))?`{1,2}(?!`)")
# Names of the project and no plain words: they have an underscore or a capital inside.
_OURS = re.compile(r"\w_\w|[a-z][A-Z]")
# A language, as translations are called, and what Click asks a shell's set-up for.
EXAMPLES = {"pt_BR", "fish_source", "zsh_source"}
GROUPS = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"])


def prose_of(path: Path) -> Iterator[str]:
    """A page, or a source's docstrings and comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def names_in(path: Path) -> set[str]:
    return {match[1] for text in prose_of(path) for match in _NAMED.finditer(text)}


@cache
def defined_in(file: Path) -> dict[str, ast.AST]:
    """What a module defines or imports at its top, and what it says under TYPE_CHECKING."""
    return dict(_bound(ast.parse(file.read_text(encoding="utf-8")).body))


def _bound(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name, node) for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (n for target in targets for n in ast.walk(target)):
                if isinstance(name, ast.Name):
                    yield name.id, node
        elif isinstance(node, ast.If | ast.Try):
            yield from _bound([*node.body, *node.orelse])


def exists(dotted: str) -> bool:
    """Whether a name that begins with a package is a file of it, or defined in one."""
    first, *rest = dotted.split(".")
    place = PACKAGES[first]
    while rest and (place / rest[0]).is_dir():
        place /= rest.pop(0)
    if not rest:
        return True
    if (place / f"{rest[0]}.py").is_file():
        file = place / f"{rest.pop(0)}.py"
    else:
        file = place / "__init__.py"
    if not rest:
        return True
    # The package's face names what it fetches when it is asked for.
    if rest[0] not in defined_in(file) and rest[0] not in _listed(file):
        return False
    found = defined_in(file).get(rest[0])
    if len(rest) > 1 and isinstance(found, ast.ClassDef):
        return rest[1] in dict(_bound(found.body))
    return True


def _listed(file: Path) -> set[str]:
    node = defined_in(file).get("__all__")
    return {
        item.value
        for item in ast.walk(node or ast.Module([], []))
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    }


@cache
def known_words() -> frozenset[str]:
    """Every identifier of the sources, and every word of their strings and of configurations."""
    words: set[str] = set()
    for path in SOURCES:
        if path == Path(__file__):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(docstring) for docstring in _docstrings(tree)}
        for node in ast.walk(tree):
            for field in ("id", "attr", "name", "arg", "asname", "module"):
                value = getattr(node, field, None)
                if isinstance(value, str):
                    words.update(value.split("."))
            if isinstance(node, ast.Constant) and id(node) not in prose:
                words.update(re.findall(r"\w+", str(node.value)))
    for path in (p for folder in FOLDERS for p in (ROOT / folder).rglob("*.toml")):
        words.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
        words.add(path.stem)
    return frozenset(words)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def stands(name: str) -> bool:
    """Whether a name in prose is a name of the project, where it looks like one."""
    if name in EXAMPLES | GROUPS or name in PACKAGES:
        return True
    if name.split(".")[0] in PACKAGES:
        return exists(name)
    return not _OURS.search(name) or name.rpartition(".")[2] in known_words()


def test_what_prose_names_exists() -> None:
    gone = {
        str(path.relative_to(ROOT)): names
        for path in (*SOURCES, *PAGES)
        if path != Path(__file__)
        and (names := sorted(name for name in names_in(path) if not stands(name)))
    }
    assert not gone


def test_a_name_that_is_gone_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        '"""Calls `edgehemo.field.gone` and `named_of_gone`."""\n# see ``CropSetBuilder``\n'
    )
    assert names_in(file) == {"edgehemo.field.gone", "named_of_gone", "CropSetBuilder"}
    assert not exists("edgehemo.field.gone")
    assert not exists("edgehemo.field.canonical.CanonicalField.gone")
    assert exists("edgehemo.field.canonical.CanonicalField.width")
    assert exists("edgehemo.screen") and exists("edgehemo_export.data")
    assert not {"named_of_gone", "CropSetBuilder"} & known_words()
    assert not any(stands(name) for name in names_in(file))
