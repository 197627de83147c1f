"""`python -m edgehemo.schemas [--check]`."""

from __future__ import annotations

from pathlib import Path

from edgehemo.schemas.documents import DOCUMENTS
from edgehemo.schemas.publishing import main

if __name__ == "__main__":
    main(DOCUMENTS, Path(__file__).parent)
