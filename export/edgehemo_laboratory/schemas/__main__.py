"""`python -m edgehemo_laboratory.schemas [--check]`."""

from __future__ import annotations

from pathlib import Path

from edgehemo.schemas.publishing import main
from edgehemo_laboratory.schemas.documents import DOCUMENTS

if __name__ == "__main__":
    main(DOCUMENTS, Path(__file__).parent)
