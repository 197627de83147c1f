"""MkDocs hooks: generated pages join the hand-written ones, figures take their places."""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs.generation.boards import scenes_filled
from docs.generation.figures import UnknownFigureError, all_tables, filled
from docs.generation.site import REPOSITORY, generated
from edgehemo_export.reference.figures import all_figures, all_measurements

SEARCH_FROM_FOLDER = "javascripts/search-from-folder.js"
FETCHED_BY_THE_THEME = "https://unpkg.com/iframe-worker/shim"
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
    text = scenes_filled(text, REPOSITORY)
    return text.replace(ALL_FIGURES_MARK, all_tables(all_measurements()))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """The theme would fetch what runs the search from a folder; ours lies in the site."""
    ours = get_relative_url(SEARCH_FROM_FOLDER, page.url)
    return output.replace(FETCHED_BY_THE_THEME, ours)


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """As `on_post_page`, for the page of what is not found, which lies at the site's root."""
    return output_content.replace(FETCHED_BY_THE_THEME, SEARCH_FROM_FOLDER)
