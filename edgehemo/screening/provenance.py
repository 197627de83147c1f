"""What a result was made with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgehemo.bundle.bundle import Bundle
    from edgehemo.profile.profile import CalibrationProfile


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a result was made with; never anything of the patient.

    created_at: timezone-aware. bundle_digest: SHA-256 of the model bundle; bundle_name: what it
    calls itself. profile_digest, profile_name: None without a profile. um_per_px_given: the
    operator's scale, None where it was not given. simulated: a simulated camera was a source.
    """

    created_at: datetime
    bundle_digest: str
    bundle_name: str
    profile_digest: str | None
    profile_name: str | None
    um_per_px_given: float | None
    simulated: bool


def provenance_of(
    bundle: Bundle,
    profile: CalibrationProfile | None,
    profile_name: str | None,
    *,
    um_per_px: float | None,
    simulated: bool,
    now: datetime,
) -> Provenance:
    """What a screening with these artefacts at ``now`` (timezone-aware) stands on."""
    return Provenance(
        created_at=now,
        bundle_digest=bundle.digest,
        bundle_name=f"{bundle.manifest.name} {bundle.manifest.serial}",
        profile_digest=profile.digest() if profile is not None else None,
        profile_name=profile_name,
        um_per_px_given=um_per_px,
        simulated=simulated,
    )
