"""The table of formats: what makes each message, and what its file is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgehemo.device.receivers import MessageFormat
from edgehemo.interop.message import Encoder
from edgehemo.interop.result_json import result_message


@dataclass(frozen=True, slots=True)
class FormatFacts:
    """One format. encode: makes its messages. suffix: of a file that holds one. media_type: as HTTP
    says it.
    """

    encode: Encoder
    suffix: str
    media_type: str


FORMATS: Mapping[MessageFormat, FormatFacts] = {
    "json": FormatFacts(result_message, ".json", "application/json"),
}
