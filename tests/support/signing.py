"""Signs, corrects and withdraws the results of a device, one after the other, until it is killed.

Prints a line ``<result> <version>`` once a version is on the disk.
"""

from __future__ import annotations

import random
import time

from edgehemo.device.configuration import load_device
from edgehemo.errors import RecordsBusyError
from edgehemo.interop.outbox import noting
from edgehemo.records.results import Wanted, listed
from edgehemo.records.store import Store, Writer
from edgehemo.records.versions import Amendments, VersionHook, change


def one(writer: Writer, chance: random.Random, hooks: tuple[VersionHook, ...]) -> str | None:
    """Make one version; None where there is nothing left to be signed."""
    unsigned = listed(writer, Wanted(state="unsigned"), limit=1)
    signed = listed(writer, Wanted(state="signed"), limit=20)
    if signed and (not unsigned or chance.random() < 0.2):
        name = chance.choice(signed).id
        if chance.random() < 0.5:
            comment = Amendments(comment=f"{chance.random()}")
            made = change(
                writer, name, "corrected", by="sup", reason="r", amendments=comment, hooks=hooks
            )
        else:
            made = change(writer, name, "withdrawn", by="sup", reason="r", hooks=hooks)
        if not unsigned and len(signed) < 10:
            return None
    elif unsigned:
        name = unsigned[0].id
        made = change(writer, name, "signed", by="sup", hooks=hooks)
    else:
        return None
    return f"{name} {made.version}"


def main() -> None:
    device = load_device(None)
    store, hooks = Store.below(device.data_dir), noting(device.receivers)
    chance = random.Random()
    while True:
        try:
            with store.writer() as writer:
                said = one(writer, chance, hooks)
        except RecordsBusyError:
            time.sleep(0.01)
            continue
        if said is None:
            print("done", flush=True)
            return
        print(said, flush=True)
        # The sender wants to write as well.
        time.sleep(0.02)


if __name__ == "__main__":
    main()
