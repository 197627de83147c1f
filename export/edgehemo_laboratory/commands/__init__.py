"""`edgehemo laboratory`: take what kiosks send, and look after the kiosks; `edgehemo archive`."""

from __future__ import annotations

from edgehemo_laboratory.commands import publishing
from edgehemo_laboratory.commands.archive import archive
from edgehemo_laboratory.commands.laboratory import laboratory

__all__ = ["archive", "laboratory", "publishing"]
