"""What happens when a file of a bundle is changed: a table, a row each file and each way.

``python benchmarks/bundle_tampering.py [BUNDLE]`` prints Markdown. It works on copies of a bundle
that this machine trusts (by default the shipped one, signed for the occasion) and asks what a
device would do: screen with it, install it, verify it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgehemo.bundle.bundle import (
    MANIFEST_NAME,
    SHIPPED_BUNDLE,
    SIGNATURE_NAME,
    Bundle,
    load_bundle,
)
from edgehemo.bundle.signatures import (
    KEYS_VARIABLE,
    PrivateKey,
    new_key,
    read_private_key,
    signature_text,
)
from edgehemo.device.installed_bundles import BundleStore
from edgehemo.errors import EdgeHemoError
from edgehemo.files.atomic import sha256_of_file
from edgehemo.inference import check_graph, open_runner
from edgehemo_export.evaluation.card_parts import section, table


@dataclass(frozen=True)
class Tampering:
    """what: is done to which file. signed_again: by a key the device trusts, as an insider could,
    so that what the manifest says is what is looked at.
    """

    file: str
    what: str
    do: Callable[[Path], None]
    signed_again: bool = False


def main(source: Path) -> None:
    """Print the table; exits with an error where a change goes unnoticed."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        os.environ[KEYS_VARIABLE] = str(work / "keys")
        key = read_private_key(new_key(work / "keys", "laboratory")[0])
        whole = work / "whole"
        shutil.copytree(source, whole)
        changing(lambda m: m.update(serial=2))(whole)
        sign(whole, key)
        assert said(lambda: used(whole)) is None, "the bundle itself must be good"
        rows, unnoticed = [], []
        for number, one in enumerate(tamperings(load_bundle(whole))):
            copy = Path(shutil.copytree(whole, work / f"copy-{number}"))
            one.do(copy)
            if one.signed_again:
                sign(copy, key)
            store = BundleStore(work / f"device-{number}")
            store.install(whole)
            before = store.current()
            opened = said(partial(used, copy, store))
            installed = said(partial(store.install, copy))
            kept = store.current() == before
            if (opened is None and installed is None) or not kept:
                unnoticed.append(f"{one.file}: {one.what}")
            rows.append((one.file, one.what, short(opened, copy), short(installed, copy), kept))
            shutil.rmtree(copy)
    heads = ("file", "change", "opening it", "installing it", "the good one stays in use")
    print("\n".join(section("A bundle with one thing changed", table(heads, rows))))
    if unnoticed:
        raise SystemExit(f"unnoticed: {'; '.join(unnoticed)}")


def used(folder: Path, store: BundleStore | None = None) -> None:
    """What a screening does with a bundle: trust, serial, every file's digest, every graph."""
    bundle = load_bundle(folder)
    if store is not None:
        store.refuse_older(bundle)
    bundle.check_files()
    for entry in bundle.manifest.models:
        for artefact in entry.artefacts:
            path = bundle.checked_file(artefact.file, artefact.sha256)
            runner = open_runner(path, artefact.format, threads=1)
            check_graph(runner, entry, artefact, bundle.graph(entry.task)[2])


def tamperings(bundle: Bundle) -> Iterator[Tampering]:
    """A changed byte in every file, and what else can be done to each kind."""
    for name in (*sorted(bundle.digests()), MANIFEST_NAME, SIGNATURE_NAME):
        yield Tampering(name, "one bit turned", partial(flip, name))
    places = [place for place, entry in enumerate(bundle.manifest.models) if entry.artefacts]
    place = places[0]
    first = bundle.manifest.models[place].artefacts[0].file
    yield Tampering(first, "cut in half", lambda folder: halve(folder / first))
    yield Tampering(first, "deleted", lambda folder: (folder / first).unlink())
    yield Tampering(first, "a link out of the bundle", lambda folder: link_out(folder / first))
    yield Tampering(SIGNATURE_NAME, "deleted", lambda folder: (folder / SIGNATURE_NAME).unlink())
    yield Tampering(SIGNATURE_NAME, "of a key nobody trusts", sign_as_stranger)
    yield Tampering("stranger.bin", "added", lambda folder: add_stranger(folder))
    yield Tampering(
        MANIFEST_NAME, "serial raised", changing(lambda m: m.update(serial=m["serial"] + 1))
    )
    yield Tampering(
        MANIFEST_NAME,
        "older serial, signed",
        changing(lambda m: m.update(serial=1)),
        signed_again=True,
    )
    yield Tampering(
        MANIFEST_NAME,
        "unknown schema, signed",
        changing(lambda m: m.update(schema="edgehemo.bundle/9")),
        signed_again=True,
    )
    yield Tampering(
        MANIFEST_NAME,
        "a path that leaves it, signed",
        changing(lambda m: m["models"][place]["artefacts"][0].update(file="../x.onnx")),
        signed_again=True,
    )
    yield Tampering(
        MANIFEST_NAME,
        "another input size, signed",
        changing(lambda m: m["models"][place]["input"].update(height_px=64, width_px=64)),
        signed_again=True,
    )
    if len(places) > 1:
        other = bundle.manifest.models[places[1]].artefacts[0]
        yield Tampering(
            first,
            "another model's graph, signed",
            lambda folder: exchange(folder, first, other.file),
            signed_again=True,
        )


def sign(folder: Path, key: PrivateKey) -> None:
    raw = (folder / MANIFEST_NAME).read_bytes()
    (folder / SIGNATURE_NAME).write_text(signature_text(raw, key), encoding="utf-8")


def sign_as_stranger(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as keys:
        sign(folder, read_private_key(new_key(Path(keys), "stranger")[0]))


def changing(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        path = folder / MANIFEST_NAME
        manifest = json.loads(path.read_bytes())
        change(manifest)
        path.write_text(json.dumps(manifest), encoding="utf-8")

    return do


def flip(name: str, folder: Path) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def link_out(path: Path) -> None:
    outside = path.parents[1] / f"outside-{path.parent.name}"
    path.rename(outside)
    path.symlink_to(outside)


def add_stranger(folder: Path) -> None:
    (folder / "stranger.bin").write_bytes(b"not named in the manifest")


def exchange(folder: Path, file: str, by: str) -> None:
    """Put another graph in a file's place, its digest and size with it."""
    shutil.copyfile(folder / by, folder / file)
    manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    for model in manifest["models"]:
        for artefact in model["artefacts"]:
            if artefact["file"] == file:
                artefact["sha256"] = sha256_of_file(folder / file)
                artefact["bytes"] = (folder / file).stat().st_size
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")


def said(action: Callable[[], object]) -> str | None:
    """The message of a refusal, None where there was none."""
    try:
        action()
    except EdgeHemoError as error:
        return str(error)
    return None


def short(message: str | None, folder: Path) -> str:
    return "accepted" if message is None else message.replace(f"{folder}", "B").split(";")[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", type=Path, default=SHIPPED_BUNDLE)
    main(parser.parse_args().bundle)
