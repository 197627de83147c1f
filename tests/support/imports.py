"""What Python source imports, wherever it does so: at the top, in a function, for a type checker.

Imports under ``TYPE_CHECKING`` count like the others: a room that names another's types cannot be
read, checked or moved without it, and two rooms that need each other's types are one room.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path


def imported_by(source: str, module: str, *, is_package: bool = False) -> set[str]:
    """Dotted names that the source of ``module`` imports; ``from a import b`` gives ``a.b``.

    Names given as text to ``import_module`` and ``resources.files`` count, where they are literal;
    but not the module's own package: that is a place on disk, and loaded whatever is imported.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module, is_package)
            found.update(f"{base}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Call) and _name_of(node.func) in ("import_module", "files"):
            found.update(
                arg.value
                for arg in node.args[:1]
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
                if arg.value != module.split(".")[0]
            )
    return found


def modules_in(package: Path) -> Iterator[tuple[str, Path]]:
    """Dotted name and file of every module of a package's folder."""
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of names that reach each other along the arrows, each sorted."""
    reached = {name: _reach(name, arrows) for name in arrows}
    groups = {
        tuple(sorted({name} | {o for o in reached[name] if name in reached.get(o, ())}))
        for name in arrows
    }
    return sorted(list(group) for group in groups if len(group) > 1)


def _reach(start: str, arrows: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in arrows.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def _base(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    up = parts[: len(parts) - node.level + int(is_package)]
    return ".".join([*up, *([node.module] if node.module else [])])


def _name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
