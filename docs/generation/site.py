"""What the site holds beside the pages in docs/pages: made from the program, or kept elsewhere."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from docs.generation.boards import boards_page
from docs.generation.commands import commands_page
from docs.generation.configuration import device_page, training_page
from docs.generation.data_flow import data_flow_svg
from docs.generation.device_files import device_files_page
from docs.generation.markdown import relinked
from docs.generation.schemas import SUFFIX, schema_index, schema_page, schema_texts
from edgehemo.guidance.page import catalogue_markdown

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKPOINTS = Path("export/checkpoints")
PROTOCOLS = Path("calibration/protocols")
PAGES = Path("docs/pages")

# Documents that stand beside what they describe, and their place in the site.
DOCUMENTS: dict[str, str] = {
    "calibration/README.md": "calibration/index.md",
    "export/README.md": "exporting.md",
    "firmware_config/README.md": "devices.md",
    "export/edgehemo_export/data/relabels/README.md": "accuracy/relabels.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}


def generated() -> dict[str, str | bytes]:
    """Path in the site's source -> content, of every page and file that is not in docs/pages."""
    found: dict[str, str | bytes] = {
        "how-it-works/data-flow.svg": data_flow_svg(),
        "boards.md": boards_page(REPOSITORY),
        "reference/commands.md": commands_page(),
        "reference/device-configuration.md": device_page(),
        "reference/device-files.md": device_files_page(),
        "reference/training-configuration.md": training_page(),
        "reference/codes.md": catalogue_markdown(),
    }
    texts = schema_texts()
    found["reference/schemas/index.md"] = schema_index(texts)
    for name, text in texts.items():
        found[f"reference/schemas/{name.removesuffix(SUFFIX)}.md"] = schema_page(name, text)
        found[f"reference/schemas/{name}"] = text
    placed = documents()
    for source, place in placed.items():
        file = REPOSITORY / source
        text = file.read_text(encoding="utf-8")
        found[place] = relinked(text, _links(source, place, placed))
    for picture in sorted((REPOSITORY / CHECKPOINTS).rglob("*.png")):
        inner = picture.relative_to(REPOSITORY / CHECKPOINTS)
        found[f"accuracy/models/{inner.as_posix()}"] = picture.read_bytes()
    return found


def documents() -> dict[str, str]:
    """Path in the repository -> path in the site, of every document that is taken over."""
    placed = dict(DOCUMENTS)
    for protocol in sorted((REPOSITORY / PROTOCOLS).glob("*.md")):
        placed[f"{PROTOCOLS.as_posix()}/{protocol.name}"] = f"calibration/{protocol.name}"
    for card in sorted((REPOSITORY / CHECKPOINTS).rglob("*.md")):
        inner = card.relative_to(REPOSITORY / CHECKPOINTS).as_posix()
        placed[f"{CHECKPOINTS.as_posix()}/{inner}"] = f"accuracy/models/{inner}"
    return placed


def _links(source: str, place: str, placed: dict[str, str]) -> dict[str, str]:
    """Link as it stands in ``source`` -> link in the site, to every document of the site."""
    pages = {
        file.relative_to(REPOSITORY).as_posix(): file.relative_to(REPOSITORY / PAGES).as_posix()
        for file in (REPOSITORY / PAGES).rglob("*.md")
    }
    return {
        _relative(other, source): _relative(target, place)
        for other, target in {**pages, **placed}.items()
    }


def _relative(target: str, source: str) -> str:
    """The link from the file ``source`` to the file ``target``, both from one root."""
    here = PurePosixPath(source).parent.parts
    there = PurePosixPath(target).parts
    same = 0
    while same < len(here) and same < len(there) - 1 and here[same] == there[same]:
        same += 1
    return "/".join([*[".."] * (len(here) - same), *there[same:]])
