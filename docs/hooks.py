"""MkDocs hooks: generated pages join the hand-written ones, figures take their places."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs.generation.figures import UnknownFigureError, all_tables, filled
from docs.generation.site import generated
from edgehemo_export.reference.figures import all_figures, all_measurements

ALL_FIGURES_MARK = "<!-- all reference figures -->"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Every generated page and every document kept elsewhere."""
    for place, content in generated().items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Figures in hand-written pages; a generated page shows what it describes as it is."""
    if page.file.generated_by is not None:
        return markdown
    try:
        text = filled(markdown, all_figures(), page.file.src_uri)
    except UnknownFigureError as error:
        raise PluginError(str(error)) from error
    return text.replace(ALL_FIGURES_MARK, all_tables(all_measurements()))
