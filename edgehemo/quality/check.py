"""One quality check's record, and the verdict over all of a field's checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgehemo.files.strict import Text

Verdict = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One named check of one field.

    name: what was checked (``focus``); value: what was measured, in the check's own unit (None
    where it could not be); limit: what it had to keep; verdict; code: stable identifier of the
    fault, empty when passed; action: what the operator can do, empty when passed.
    """

    name: Text
    value: float | None
    limit: float | None
    verdict: Verdict
    code: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class QualityReport:
    """All checks of one field; accepted when none failed."""

    checks: tuple[Check, ...]

    def __repr__(self) -> str:
        unlike = [f"{c.verdict} {c.name}" for c in self.checks if c.verdict != "pass"]
        said = ": " + ", ".join(unlike) if unlike else ""
        return f"<QualityReport {'accepted' if self.accepted else 'refused'}{said}>"

    @property
    def accepted(self) -> bool:
        return all(check.verdict != "fail" for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.verdict == "fail")

    @property
    def faults(self) -> tuple[str, ...]:
        """The codes of what failed, each once: two checks may find the same fault."""
        return tuple(dict.fromkeys(check.code for check in self.failed))
