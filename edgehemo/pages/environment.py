"""One Jinja2 environment and one look for every HTML page the project writes.

A page extends ``pages/base.html.j2`` (header, print rules, security policy) and keeps its own
template in its package; ``pages/look.css`` holds the colours and type, ``pages/parts.html.j2``
macros that several pages need. Pages are self-contained: they load nothing, from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def page_environment(package: str, **filters: Callable[..., Any]) -> Environment:
    """The environment for the pages of a package that has a ``templates`` folder.

    package: its dotted name. filters: the pages' own, by name. Text is escaped, and a name that a
    template uses but was not given is an error (`jinja2.UndefinedError`), never an empty place.
    """
    # Most commands write no page, and Jinja2 takes longer to load than they take to start.
    from jinja2 import (  # noqa: PLC0415
        ChoiceLoader,
        Environment,
        PackageLoader,
        PrefixLoader,
        StrictUndefined,
    )

    environment = Environment(
        loader=ChoiceLoader(
            [PrefixLoader({"pages": PackageLoader("edgehemo.pages")}), PackageLoader(package)]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment
