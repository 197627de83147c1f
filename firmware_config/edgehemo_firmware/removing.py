"""Takes a device out of service: what was written goes, changed files and data stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from edgehemo_firmware import layout
from edgehemo_firmware.installed import Entry, Installed
from edgehemo_firmware.steps import AddLines, block_in
from edgehemo_firmware.target import Target, sha256

# Below /etc and /usr/local, and made for our files alone where they are empty afterwards.
_OWN_FOLDERS = ("/etc/edgehemo", layout.PROGRAMS)


@dataclass(frozen=True, slots=True)
class Removal:
    """remove: what goes. changed: what was changed by hand since, and stays. gone: what is not
    there any more. data: whether records, settings and the program's versions go as well.
    """

    remove: tuple[Entry, ...]
    changed: tuple[Entry, ...]
    gone: tuple[Entry, ...]
    data: bool

    def lines(self) -> Iterator[str]:
        """What will be done, in words."""
        for entry in self.remove:
            what = "our lines in it are removed" if entry.kind == "lines" else "removed"
            yield f"{entry.path}: {what}"
        for entry in self.changed:
            yield f"{entry.path}: was changed by hand, kept"
        if self.data:
            yield f"{layout.DATA}: REMOVED WITH ALL RECORDS"
        else:
            yield f"{layout.DATA}: records, settings and the program are kept"


def removal(target: Target, installed: Installed, *, data: bool) -> Removal:
    """What would be done; nothing is changed."""
    remove, changed, gone = [], [], []
    for entry in installed.entries:
        now = _digest_of(target, entry)
        if now is None:
            gone.append(entry)
        elif now in entry.ours:
            remove.append(entry)
        else:
            changed.append(entry)
    return Removal(tuple(remove), tuple(changed), tuple(gone), data)


def remove_from(target: Target, found: Removal) -> None:
    """Do it. Units are stopped first on the running system; users stay, for files may be theirs."""
    units = [each for each in found.remove if each.path.startswith(f"{layout.UNITS}/")]
    if target.managed:
        for unit in sorted(_own_units(units)):
            target.run(["systemctl", "stop", unit], said=f"stopping {unit}")
    # The links first: nothing then starts what is being removed.
    for entry in sorted(found.remove, key=lambda each: each.kind != "link"):
        if entry.kind == "lines":
            AddLines(entry.path, (), "").do(target)
        else:
            target.remove(entry.path)
    target.remove(layout.MANIFEST)
    folders = {str(PurePosixPath(each.path).parent) for each in found.remove}
    for folder in sorted({f for f in folders if _ours(f)} | set(_OWN_FOLDERS), reverse=True):
        target.remove_empty(folder)
    if found.data:
        target.remove_tree(layout.DATA)
    if target.managed:
        target.run(["systemctl", "daemon-reload"])


def _own_units(entries: list[Entry]) -> Iterator[str]:
    for entry in entries:
        name = PurePosixPath(entry.path).name
        if entry.kind == "file" and name.startswith("edgehemo-"):
            yield name


def _ours(folder: str) -> bool:
    """Folders that other programs know how to do without when they are empty."""
    return folder.endswith((".wants", ".conf.d")) or folder.startswith("/etc/chromium")


def _digest_of(target: Target, entry: Entry) -> str | None:
    if entry.kind != "lines":
        return target.digest(entry.path)
    block = block_in((target.read(entry.path) or b"").decode("utf-8", "replace"))
    return None if block is None else sha256(block.encode())
