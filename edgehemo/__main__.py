"""`python -m edgehemo`."""

from __future__ import annotations

from edgehemo.cli import main

if __name__ == "__main__":
    main()
