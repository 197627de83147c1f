"""What the documentation is made from: commands, keys, codes, schemas, figures, offline."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import click
import msgspec
import pytest

from docs.generation.commands import commands, commands_page
from docs.generation.configuration import described, device_page, key_comments, training_page
from docs.generation.data_flow import data_flow_svg
from docs.generation.figures import PLACEHOLDER, UnknownFigureError, filled
from docs.generation.markdown import relinked
from docs.generation.offline import in_page, in_site
from docs.generation.readme import README, current
from docs.generation.schemas import schema_page, schema_texts
from docs.generation.site import documents, generated
from edgehemo.cli import BUILT_IN
from edgehemo.device.configuration import DeviceConfiguration, InferenceSection
from edgehemo.guidance.catalogue import catalogue
from edgehemo.guidance.page import catalogue_markdown
from edgehemo_export.configuration import CONFIGS
from edgehemo_export.reference.figures import Figure, all_figures
from tests.support.walked_pages import PAGES, REPOSITORY

README_LINES = 120


def test_every_command_and_option_is_documented() -> None:
    page = commands_page()
    names = [name for name, _ in commands()]
    assert {f"edgehemo {name}" for name in BUILT_IN} <= set(names)
    assert {"edgehemo train", "edgehemo export", "edgehemo calibrate analyser"} <= set(names)
    for name, command in commands():
        section = re.search(rf"^#+ {re.escape(name)}\n(.*?)(?=^#|\Z)", page, re.M | re.S)
        assert section is not None, name
        for option in command.params:
            if isinstance(option, click.Option):
                assert f"`{option.opts[0]}`" in section[1], f"{name} {option.opts[0]}"


def test_every_key_of_the_device_configuration_has_its_meaning() -> None:
    page = device_page()
    sections = [
        item
        for item in msgspec.structs.fields(DeviceConfiguration)
        if isinstance(item.type, type) and issubclass(item.type, msgspec.Struct)
    ]
    assert len(sections) >= 5
    for section in sections:
        part = page.partition(f"## [{section.encode_name}]")[2].partition("\n## ")[0]
        for key in msgspec.structs.fields(section.type):
            row = re.search(rf"^\| `{key.encode_name}` \|(.*)\|$", part, re.MULTILINE)
            assert row is not None, key.encode_name
            assert row[1].split("|")[-1].strip(), f"{key.encode_name} has no meaning"


def test_a_docstring_is_taken_apart_by_its_keys() -> None:
    found = described(InferenceSection)
    assert found["runtime"] == found["precision"]
    assert found["threads"] != found["memory_limit_mb"]


def test_every_training_key_is_documented() -> None:
    page = training_page()

    def keys(values: dict[str, object], before: str = "") -> list[str]:
        return [
            inner
            for key, value in values.items()
            for inner in (
                keys(value, f"{before}{key}.") if isinstance(value, dict) else [before + key]
            )
        ]

    for file in CONFIGS.glob("*.toml"):
        section = page.partition(f"## {file.name}\n")[2].partition("\n## ")[0]
        for key in keys(tomllib.loads(file.read_text(encoding="utf-8"))):
            assert f"| `{key}` |" in section, f"{file.name}: {key}"


def test_comments_belong_to_the_key_below_them() -> None:
    text = "# The file.\na = 1\n\n# Of the table.\n[t]\n# Of b.\nb = 2\nc = 3\n"
    assert key_comments(text) == {"": "The file.", "t.b": "Of the table. Of b."}


def test_every_code_is_documented() -> None:
    page = catalogue_markdown()
    assert catalogue()
    for code, entry in catalogue().items():
        assert f"`{code}`" in page
        assert entry.meaning in page


def test_every_schema_has_its_page() -> None:
    texts = schema_texts()
    assert texts
    for name, text in texts.items():
        page = schema_page(name, text)
        for key in msgspec.json.decode(text).get("properties", {}):
            assert f"| `{key}` |" in page


def test_figures_take_their_places_and_no_other_braces_stay() -> None:
    figures = {"a": Figure(metric="m", value=0.9523, tolerance=0, low=0.9, high=0.97, items=1165)}
    text = "{{ a .2f }}, {{ a +.1% }}, {{ a.interval .0% }}, {{ a.items ,d }}"
    assert filled(text, figures, "page") == "0.95, +95.2 %, 90 to 97 %, 1,165"
    with pytest.raises(UnknownFigureError, match=r"page: there is no reference figure b"):
        filled("{{ b .2f }}", figures, "page")
    with pytest.raises(UnknownFigureError, match="is not a placeholder"):
        filled("{{ a }}", figures, "page")


def test_pages_name_figures_that_are_there() -> None:
    figures = all_figures()
    placed = 0
    for page in PAGES.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        placed += len(PLACEHOLDER.findall(text))
        filled(text, figures, str(page))
    assert placed > 60


def test_every_figure_stands_on_a_page() -> None:
    """A figure that no page states is kept for nothing; the table of all does not count."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES.rglob("*.md"))
    named = {match[0] for match in PLACEHOLDER.findall(text)}
    assert set(all_figures()) - named == set()


def test_the_readme_is_current_and_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == current(text), "run: python -m docs.generation.readme"
    assert len(text.splitlines()) <= README_LINES
    assert "not a diagnosis" in text


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_the_documents_at_the_root_lead_somewhere(name: str) -> None:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert target.startswith("https://") or (REPOSITORY / target).exists(), target


def test_every_document_is_taken_over_under_its_own_place() -> None:
    placed = documents()
    assert len(set(placed.values())) == len(placed)
    made = generated()
    assert set(placed.values()) <= set(made)
    assert not [place for place in made if (PAGES / place).exists()]
    protocol = made[placed["calibration/README.md"]]
    assert isinstance(protocol, str)
    assert "](scale.md)" in protocol and "protocols/" not in protocol


def test_links_are_changed_with_their_anchors_kept() -> None:
    text = "[a](x/b.md#c) ![d](x/e.png) [f](https://example.org)"
    assert (
        relinked(text, {"x/b.md": "b.md"}) == "[a](b.md#c) ![d](x/e.png) [f](https://example.org)"
    )


def test_the_picture_of_the_flow_is_drawn_inside_its_borders() -> None:
    svg = ElementTree.fromstring(data_flow_svg())
    space = "{http://www.w3.org/2000/svg}"
    _, _, width, height = (float(value) for value in svg.attrib["viewBox"].split())
    boxes = svg.findall(f"{space}rect")[1:]
    assert len(boxes) == 15
    for box in boxes:
        x, y = float(box.attrib["x"]), float(box.attrib["y"])
        assert x >= 0 and y >= 0
        assert x + float(box.attrib["width"]) <= width
        assert y + float(box.attrib["height"]) <= height


def test_what_a_page_fetches_from_elsewhere_is_found() -> None:
    fetched = (
        '<script src="https://cdn.example/a.js"></script>'
        '<link rel="stylesheet" href="//cdn.example/a.css">'
        '<img src="http://pictures.example/a.png">'
        "<style>@import 'https://fonts.example/f.css'; p { background: url(//x.example/b.png) }"
        "</style>"
    )
    assert len(in_page(fetched)) == 5
    kept = (
        '<a href="https://example.org">read</a><link rel="canonical" href="https://example.org/">'
        '<script src="assets/a.js"></script><img src="data:image/png;base64,//8=">'
        "<p>https://example.org</p>"
    )
    assert in_page(kept) == []


def test_a_site_is_searched_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text('<img src="a.png">', encoding="utf-8")
    (tmp_path / "a.css").write_text(
        "p { src: url(https://fonts.example/f.woff) }", encoding="utf-8"
    )
    assert list(in_site(tmp_path)) == ["a.css: style https://fonts.example/f.woff"]
