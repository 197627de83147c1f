"""How the tools of this folder end: errors in one line, and an exit code that means something."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from edgehemo.errors import EXIT_DONE, EdgeHemoError


def run_as_tool(main: Callable[[], int | None]) -> NoReturn:
    """End the process with what ``main`` returns, or with an error's line and exit code."""
    try:
        code = main()
    except EdgeHemoError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    sys.exit(EXIT_DONE if code is None else code)
