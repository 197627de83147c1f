"""The pages' environment: escaped, strict, one look."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from edgehemo.pages.environment import page_environment
from tests.support.pages import faults_of_page

TEMPLATE = """{%- extends "pages/base.html.j2" -%}
{%- from "pages/parts.html.j2" import table -%}
{% block title %}{{ name }}{% endblock %}
{% block heading %}{{ name | shout }}{% endblock %}
{% block content %}{{ table(("a", "n"), [(name, "1")], (1,)) }}{% endblock %}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of somebody's with one page."""
    folder = tmp_path / "some_pages" / "templates"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / "page.html.j2").write_text(TEMPLATE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some_pages", raising=False)
    return "some_pages"


def shout(text: str) -> str:
    return text.upper()


def test_a_page_of_any_package_has_the_look_and_is_escaped(package: str) -> None:
    template = page_environment(package, shout=shout).get_template("page.html.j2")
    page = template.render(name="<b>&</b>")
    assert not faults_of_page(page)
    assert "<b>" not in page and "&lt;B&gt;" in page
    assert '<td>&lt;b&gt;&amp;&lt;/b&gt;</td><td class="number">1</td>' in page
    assert '<th>a</th><th class="number">n</th>' in page


def test_a_name_that_was_not_given_is_an_error(package: str) -> None:
    template = page_environment(package, shout=shout).get_template("page.html.j2")
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        template.render()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('<img src="http://x/y.png">', "is fetched"),
        ('<link href="look.css">', "is fetched"),
        ('<p onclick="x()">a</p>', "runs a script"),
        ("<script>x()</script>", "holds a script"),
        ("<section><p>a</section>", "closes nothing"),
        ("<section>", "leaves section open"),
        ("<p>a</p>", "has not the shared look"),
        ("<p>a</p>", "has no main part"),
        ("<h1>a</h1><h3>b</h3>", "leaves a level of headings out"),
        ("<table><tr><th>a</th><th> </th></tr></table>", "a column has no name"),
    ],
)
def test_what_a_page_must_not_be(page: str, said: str) -> None:
    assert any(said in fault for fault in faults_of_page(page))
