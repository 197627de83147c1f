"""The laboratory's own certificate is replaced: prepared, learnt by the kiosks, put into use."""

from __future__ import annotations

from collections.abc import Sequence

from edgehemo_laboratory.chain import note
from edgehemo_laboratory.enrolment.certificates import Certificate, Certificates
from edgehemo_laboratory.enrolment.kiosks import without
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.storage.interface import Storage

_NAMED = 5


async def prepare_next(
    storage: Storage, certificates: Certificates, names: Sequence[str], *, by: str
) -> Certificate:
    """Make the next one; kiosks trust both from their next visit on."""
    made = certificates.prepare(names)
    await storage.change(lambda change: note(change, "certificate prepared", made.digest, by=by))
    return made


async def use_next(
    storage: Storage, certificates: Certificates, *, force: bool, by: str
) -> Certificate:
    """Show the prepared one from now on. LaboratoryError where kiosks in service do not trust it
    yet and nothing forces it: they could send nothing any more.
    """
    coming = certificates.prepared
    if coming is not None and not force:
        left = await without(storage, coming.digest)
        if left:
            some = ", ".join(left[:_NAMED]) + (", ..." if len(left) > _NAMED else "")
            raise LaboratoryError(
                f"{len(left)} kiosks do not trust it yet and could send nothing any more: {some}; "
                "--force does it all the same, and they must be enrolled again"
            )
    used = certificates.use_prepared()
    await storage.change(
        lambda change: note(change, "certificate put into use", used.digest, by=by)
    )
    return used
