"""axe-core, which finds what keeps people with a keyboard or a screen reader from a page.

It is no part of the project: it is fetched from npm for the tests that use it, where that can be
reached (axe-core is under MPL-2.0).
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

VERSION = "4"
FETCH_S = 120
# WCAG 2.2 up to AA, and what axe-core calls good practice.
_RUN = """async () => (await axe.run(document, {resultTypes: ["violations"]%s})).violations
  .flatMap((each) => each.nodes.map((node) =>
    `${each.id} (${each.impact}): ${node.html.slice(0, 160)} ${(node.any[0] ?? {}).message ?? ""}`))
"""


@functools.cache
def axe_source() -> str:
    """Its script. Skips the test where npm is missing or cannot be reached."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: axe-core cannot be fetched")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [npm, "pack", f"axe-core@{VERSION}", "--pack-destination", folder, "--silent"],
            cwd=folder, capture_output=True, text=True, timeout=FETCH_S,
        )  # fmt: skip
        packed = list(Path(folder).glob("axe-core-*.tgz"))
        if done.returncode or not packed:
            pytest.skip(f"axe-core cannot be fetched from npm: {done.stderr.strip()[-200:]}")
        with tarfile.open(packed[0]) as archive:
            file = archive.extractfile("package/axe.min.js")
            assert file is not None
            return file.read().decode("utf-8")


def violations(page: Page, *, rule: str | None = None) -> list[str]:
    """What axe-core finds wrong with the page as it is shown, one line each. rule: only by this."""
    only = "" if rule is None else f", runOnly: {{type: 'rule', values: ['{rule}']}}"
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(f"() => {{ {axe_source()} }}")
    found: list[str] = page.evaluate(_RUN % only)
    return found


def in_light_and_dark(page: Page) -> list[str]:
    """What axe-core finds wrong in either theme; between them only colours differ."""
    found = []
    for theme, rule in (("light", None), ("dark", "color-contrast")):
        page.evaluate(f"() => {{ document.documentElement.dataset.theme = '{theme}' }}")
        found += [f"{theme}: {each}" for each in violations(page, rule=rule)]
    page.evaluate("() => { document.documentElement.dataset.theme = 'light' }")
    return found
