"""The steps of an installation: each says what it does, whether it is done, and does it.

Making steps reads and changes nothing: what they are is decided by `edgehemo_firmware.plan`. They
touch the system through `edgehemo_firmware.target.Target` alone.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgehemo.errors import DeviceError
from edgehemo_firmware import layout
from edgehemo_firmware.facts import dpkg_status, installed_packages
from edgehemo_firmware.installed import Entry, Installed, read_installed
from edgehemo_firmware.target import Target, sha256

# Lines of ours in a file of others stand between these.
BLOCK_BEGINS, BLOCK_ENDS = "# >>> edgehemo", "# <<< edgehemo"
# Where packages from media lie in the target while they are installed.
DEB_FOLDER = "/var/tmp/edgehemo-packages"


class Step(Protocol):
    """One of them."""

    @property
    def said(self) -> str:
        """What it does, in words."""
        ...

    def is_done(self, target: Target) -> bool:
        """Whether nothing is left to do."""
        ...

    def do(self, target: Target) -> None:
        """Do it. Raises DeviceError or OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """Where packages of the distribution come from. fetch: whether apt may fetch them. debs: files
    that media carry, with all that they depend on; checked before.
    """

    fetch: bool = True
    debs: tuple[Path, ...] = ()


FROM_THE_NETWORK = Source()


@dataclass(frozen=True, slots=True)
class Packages:
    """names: of the distribution, which must be there."""

    names: tuple[str, ...]
    source: Source = FROM_THE_NETWORK

    @property
    def said(self) -> str:
        return f"packages of the distribution: {', '.join(self.names)}"

    def missing(self, target: Target) -> tuple[str, ...]:
        there = installed_packages(dpkg_status(target))
        return tuple(name for name in self.names if name not in there)

    def is_done(self, target: Target) -> bool:
        return not self.missing(target)

    def do(self, target: Target) -> None:
        if self.source.debs:
            install_debs(target, self.source.debs)
        missing = self.missing(target)
        if not missing:
            return
        if not self.source.fetch:
            raise DeviceError(
                f"packages of the distribution are missing: {' '.join(missing)}. Begin from an "
                "image that has them, take media that carry them (`edgehemo device media "
                "--deb-packages`), or install them where there is a network (apt-get install)"
            )
        try:
            target.run(["apt-get", "update", "-qq"])
            target.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing])
        except DeviceError as error:
            raise DeviceError(
                f"{' '.join(missing)} could not be installed ({error}). Without a network begin "
                "from an image that has them, or install them from the distribution's own medium"
            ) from None


def install_debs(target: Target, debs: Sequence[Path]) -> None:
    """Install files of packages with no network: those that are not there, or are older there.

    They are copied to the target for as long, for its programs see no stick.
    """
    folder = target.place(DEB_FOLDER)
    target.remove_tree(DEB_FOLDER)
    try:
        folder.mkdir(parents=True)
        for deb in debs:
            shutil.copyfile(deb, folder / deb.name)
        inside = [f"{DEB_FOLDER}/{deb.name}" for deb in debs]
        wanted = [path for path in inside if _is_newer(target, path)]
        if wanted:
            no_network = ["-o", "Dir::Etc::sourcelist=/dev/null",
                          "-o", "Dir::Etc::sourceparts=/dev/null"]  # fmt: skip
            target.run(
                [
                    "apt-get",
                    *no_network,
                    "install",
                    "-qq",
                    "-y",
                    "--no-install-recommends",
                    *wanted,
                ],
                said="packages from the media",
            )
    finally:
        target.remove_tree(DEB_FOLDER)


def _is_newer(target: Target, path: str) -> bool:
    """Whether a package's file is of a version that is not there."""
    said = target.run(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", path])
    name, _, version = said.partition(" ")
    try:
        there = target.run(["dpkg-query", "--show", "--showformat=${Version}", name]).strip()
    except DeviceError:
        return True
    if not there:
        return True
    try:
        target.run(["dpkg", "--compare-versions", version, "gt", there])
    except DeviceError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file of ours. meaning: what it is for."""

    path: str
    content: bytes
    meaning: str
    mode: int = 0o644
    owner: str = "root"

    @property
    def said(self) -> str:
        return f"{self.path}: {self.meaning}"

    @property
    def entry(self) -> Entry:
        return Entry(path=self.path, kind="file", sha256=sha256(self.content))

    def is_done(self, target: Target) -> bool:
        status = target.status(self.path)
        if status is None or status.st_mode & 0o7777 != self.mode:
            return False
        owner = target.number_of(self.owner, "passwd")
        return status.st_uid == owner and target.read(self.path) == self.content

    def do(self, target: Target) -> None:
        target.write(self.path, self.content, self.mode, self.owner)


@dataclass(frozen=True, slots=True)
class MakeLink:
    """A link of ours. leads: where to, as it is written in the target."""

    path: str
    leads: str
    meaning: str

    @property
    def said(self) -> str:
        return f"{self.path} -> {self.leads}: {self.meaning}"

    @property
    def entry(self) -> Entry:
        return Entry(path=self.path, kind="link", sha256=sha256(self.leads.encode()))

    def is_done(self, target: Target) -> bool:
        return target.link(self.path) == self.leads

    def do(self, target: Target) -> None:
        if target.is_folder(self.path) and target.link(self.path) is None:
            raise DeviceError(f"{self.path}: is a folder, where a link is needed; move it away")
        target.make_link(self.path, self.leads)


@dataclass(frozen=True, slots=True)
class AddLines:
    """Lines of ours at the end of a file of others, between two marks. lines: without their ends;
    none takes the lines out.
    """

    path: str
    lines: tuple[str, ...]
    meaning: str

    @property
    def said(self) -> str:
        return f"{self.path}: {'; '.join(self.lines) or 'none of our lines'} ({self.meaning})"

    @property
    def block(self) -> str:
        if not self.lines:
            return ""
        return "\n".join([BLOCK_BEGINS, *self.lines, BLOCK_ENDS]) + "\n"

    @property
    def entry(self) -> Entry:
        return Entry(path=self.path, kind="lines", sha256=sha256(self.block.encode()))

    def is_done(self, target: Target) -> bool:
        text = _text_of(target, self.path)
        return with_block(text, self.block) == text

    def do(self, target: Target) -> None:
        data = with_block(_text_of(target, self.path), self.block).encode("utf-8")
        status = target.status(self.path)
        target.write(self.path, data, 0o644 if status is None else status.st_mode & 0o777)


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """A folder of the data partition."""

    folder: layout.Folder

    @property
    def said(self) -> str:
        each = self.folder
        return f"{each.path}/: folder of {each.owner}:{each.group}, mode {each.mode:o}"

    def is_done(self, target: Target) -> bool:
        status = target.status(self.folder.path)
        if status is None or not target.is_folder(self.folder.path):
            return False
        wanted = (
            target.number_of(self.folder.owner, "passwd"),
            target.number_of(self.folder.group, "group"),
        )
        mode = status.st_mode & 0o7777
        return mode == self.folder.mode and (status.st_uid, status.st_gid) == wanted

    def do(self, target: Target) -> None:
        each = self.folder
        target.make_folder(each.path, each.mode, each.owner, each.group)


@dataclass(frozen=True, slots=True)
class MakeUsers:
    """The users of the file for systemd-sysusers."""

    said = f"users {layout.USER} and {layout.SCREEN_USER}, with their groups"

    def is_done(self, target: Target) -> bool:
        for user, groups in layout.GROUPS.items():
            if target.number_of(user, "passwd") is None:
                return False
            if any(user not in _members(target, group) for group in groups):
                return False
        return True

    def do(self, target: Target) -> None:
        target.run(["systemd-sysusers", "/etc/sysusers.d/edgehemo.conf"], said="making users")
        if not self.is_done(target):
            raise DeviceError(
                "systemd-sysusers made not all users and groups; a user of the name may be there "
                "already without its groups: `usermod -aG video edgehemo`, then install again"
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """The device configuration, on the data partition: it belongs to the service, which changes it
    for a supervisor. text: as it is to be. changed: keys that were changed on the device, and stay.
    """

    text: str
    changed: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        kept = f", {', '.join(self.changed)} as changed on the device" if self.changed else ""
        return f"{layout.CONFIGURATION}: the device configuration{kept}"

    def is_done(self, target: Target) -> bool:
        status = target.status(layout.CONFIGURATION)
        owner = target.number_of(layout.USER, "passwd")
        there = target.read(layout.CONFIGURATION)
        return (
            status is not None
            and there is not None
            and status.st_uid == owner
            and _same_values(there.decode("utf-8", "replace"), self.text)
        )

    def do(self, target: Target) -> None:
        target.write(layout.CONFIGURATION, self.text.encode("utf-8"), 0o640, layout.USER)


@dataclass(frozen=True, slots=True)
class RemoveOurs:
    """Something that an earlier installation wrote and this one does not. changed by hand, it
    stays.
    """

    entry: Entry

    @property
    def said(self) -> str:
        return f"{self.entry.path}: not needed any more, removed"

    def is_done(self, target: Target) -> bool:
        if self.entry.kind == "lines":
            return AddLines(self.entry.path, (), "").is_done(target)
        return target.digest(self.entry.path) not in self.entry.ours

    def do(self, target: Target) -> None:
        if self.entry.kind == "lines":
            AddLines(self.entry.path, (), "").do(target)
        else:
            target.remove(self.entry.path)


@dataclass(frozen=True, slots=True)
class Note:
    """The list of what is installed. finished: written when all is done; before, it also knows what
    stood there, so that an installation that was cut off is taken up again.
    """

    installed: Installed
    finished: bool

    @property
    def said(self) -> str:
        return f"{layout.MANIFEST}: the list of what was written, with digests"

    def is_done(self, target: Target) -> bool:
        before = read_installed(target)
        if before is None:
            return False
        if self.finished:
            return before == self.installed
        known = {each.path: each.sha256 for each in before.entries}
        return all(known.get(each.path) == each.sha256 for each in self.installed.entries)

    def do(self, target: Target) -> None:
        installed = self.installed
        if not self.finished:
            installed = _union(read_installed(target), installed)
        target.write(layout.MANIFEST, installed.text.encode("utf-8"), 0o644)


@dataclass(frozen=True, slots=True)
class Tell:
    """Have a part of the running system take up what was written. command: of the system."""

    command: tuple[str, ...]
    meaning: str

    @property
    def said(self) -> str:
        return f"{' '.join(self.command)}: {self.meaning}"

    def is_done(self, target: Target) -> bool:
        # Where no service manager runs, it reads all at the next start.
        return not target.managed

    def do(self, target: Target) -> None:
        target.run(self.command)


def with_block(text: str, block: str) -> str:
    """A text with our lines at its end, in the place of those that were there."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.strip() == BLOCK_BEGINS:
            inside = True
        elif line.strip() == BLOCK_ENDS:
            inside = False
        elif not inside:
            kept.append(line)
    while kept and not kept[-1].strip():
        kept.pop()
    body = "\n".join(kept) + "\n" if kept else ""
    if not block:
        return text if BLOCK_BEGINS not in text else body
    return f"{body}\n{block}" if body else block


def block_in(text: str) -> str | None:
    """Our lines in a text, with their marks; None where there are none."""
    begin, end = text.find(BLOCK_BEGINS), text.find(BLOCK_ENDS)
    if begin < 0 or end < begin:
        return None
    return text[begin : end + len(BLOCK_ENDS)] + "\n"


def _text_of(target: Target, path: str) -> str:
    return (target.read(path) or b"").decode("utf-8", "replace")


def _members(target: Target, group: str) -> tuple[str, ...]:
    for line in (target.text("/etc/group") or "").splitlines():
        parts = line.split(":")
        if parts[0] == group and len(parts) > 3:
            return tuple(parts[3].split(","))
    return ()


def _same_values(one: str, other: str) -> bool:
    try:
        return tomllib.loads(one) == tomllib.loads(other)
    except tomllib.TOMLDecodeError:
        return False


def _union(before: Installed | None, after: Installed) -> Installed:
    """What is written, and what is still there from before."""
    if before is None:
        return after
    entries = {each.path: each for each in before.entries}
    for each in after.entries:
        known = entries.get(each.path)
        ours = () if known is None else known.ours
        was = tuple(digest for digest in dict.fromkeys(ours) if digest != each.sha256)
        entries[each.path] = each.model_copy(update={"before": was})
    return after.model_copy(update={"entries": tuple(entries.values())})
