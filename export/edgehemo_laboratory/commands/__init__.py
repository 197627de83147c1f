"""`edgehemo laboratory`: take what kiosks send, and look after the kiosks."""

from __future__ import annotations

from edgehemo_laboratory.commands.laboratory import laboratory

__all__ = ["laboratory"]
