"""What leaves the device, without whose it is unless that is asked for.

Left out or replaced: the numbers and names of sample, operator, site and device (by keyed
pseudonyms), the day (the month stays), file names, free text, the exact age, the exact altitude;
pictures are written anew without what a camera or telephone put into their files. What stays is
what was measured.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from edgehemo.records.output import VersionEntry
from edgehemo.records.results import StoredResult
from edgehemo.records.store import Reader

# Prefix of a pseudonym by what it stands for.
_PREFIXES = {"sample": "S", "operator": "P", "site": "L", "device": "D"}
# Older people of a village are told by their age alone; so are those of a high place.
OLDEST_TOLD_YEARS = 90
ALTITUDE_STEP_M = 500


@dataclass(frozen=True, slots=True)
class View:
    """How results leave the device. identified: as they are stored. key: of the pseudonyms."""

    identified: bool
    key: bytes

    @classmethod
    def of(cls, reader: Reader, *, identified: bool) -> View:
        key = reader.rows("SELECT key FROM pseudonym_key")[0][0]
        return cls(identified, bytes.fromhex(key))

    def name(self, kind: str, value: str | None) -> str | None:
        """A name as it leaves the device."""
        if value is None or self.identified:
            return value
        code = hmac.new(self.key, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()
        return f"{_PREFIXES[kind]}-{code[:12]}"

    def moment(self, text: str) -> str:
        """A date as it leaves the device: its month."""
        return text if self.identified else f"{text[:7]}-01T00:00:00+00:00"

    def person(self, result: StoredResult) -> dict[str, Any] | None:
        """Person data as they leave the device."""
        if result.person is None:
            return None
        values: dict[str, Any] = msgspec.to_builtins(result.person)
        if not self.identified:
            years = values["age_years"]
            values["age_years"] = (
                min(float(int(years)), float(OLDEST_TOLD_YEARS)) if years >= 2 else years // 0.5 / 2
            )
            values["altitude_m"] = float(values["altitude_m"] // ALTITUDE_STEP_M * ALTITUDE_STEP_M)
        return values

    def image(self, position: int, name: str) -> str:
        """What an image is called."""
        return name if self.identified else f"{position + 1:03d}"

    def record(self, result: StoredResult, record: Mapping[str, Any]) -> dict[str, Any]:
        """The result as `edgehemo screen` wrote it, as it leaves the device."""
        labels = {
            "sample": self.name("sample", result.sample_now),
            "operator": self.name("operator", result.operator),
            "site": self.name("site", result.site),
        }
        provenance = dict(record["provenance"])
        provenance["created_at"] = self.moment(provenance["created_at"])
        made = {**record, "labels": labels, "provenance": provenance}
        if self.identified:
            return made
        if provenance["profile"] is not None:
            # A file's name may be a place's.
            provenance["profile"] = {**provenance["profile"], "name": "profile"}
        names = {field.source: self.image(field.position, field.source) for field in result.fields}
        made["images"] = [_renamed(image, names) for image in record["images"]]
        return made

    def versions(self, result: StoredResult) -> list[dict[str, Any]]:
        """The versions as they leave the device."""
        found = [VersionEntry.of(version).model_dump() for version in result.versions]
        if self.identified:
            return found
        for entry in found:
            entry["sample"] = self.name("sample", entry["sample"])
            entry["by"] = self.name("operator", entry["by"])
            entry["at"] = self.moment(entry["at"])
            entry["reason"] = ""
            amendments = {
                key: value for key, value in entry["amendments"].items() if key != "comment"
            }
            if "sample" in amendments:
                amendments["sample"] = self.name("sample", amendments["sample"])
            entry["amendments"] = amendments
        return found


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """JSON values with every name of an image replaced, longest first."""
    if isinstance(value, str):
        for name in sorted(names, key=len, reverse=True):
            value = value.replace(name, names[name])
        return value
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return value
