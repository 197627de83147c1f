"""Killed at a random moment: what stood there, or what was made, and never a mixture."""

from __future__ import annotations

from edgehemo.device.installed_bundles import BundleStore, check_whole, open_in_use
from edgehemo.errors import EdgeHemoError
from edgehemo.profile.profile import load_profile
from soak.attack import Figures, Scene, sample_in, two_samples
from tests.support.bundle_makers import small_bundle


def screening(scene: Scene) -> Figures:
    """Two samples in turn into one folder, with and without a stranger's file in it."""
    samples = two_samples(scene.folder)
    out = scene.folder / "out"
    figures = {"rounds": 0, "killed": 0, "results": 0, "broken": 0}
    for number in scene.rounds():
        killed = scene.killed(4.0, "screen", samples[number % 2], "--out", out, "--force")
        if out.is_dir():
            (out / "notes.txt").write_text("not edgehemo's") if number % 3 == 0 else None
        found = sample_in(out)
        kept = number < 3 or (out / "notes.txt").exists() or not out.is_dir()
        figures["rounds"] += 1
        figures["killed"] += killed
        figures["results"] += not killed
        figures["broken"] += found == "mixed" or not kept
        if not killed and found != "ab"[number % 2]:
            figures["broken"] += 1
    code, _ = scene.ended("screen", samples[0], "--out", out, "--force")
    left = list(scene.folder.rglob(".*edgehemo-*"))
    figures["broken"] += code not in (0, 1) or sample_in(out) != "a" or bool(left)
    return figures


def bundle_install(scene: Scene) -> Figures:
    """Bundles of rising serials; after each kill what is in use is whole, and none is lost."""
    figures = {"rounds": 0, "killed": 0, "installed": 0, "broken": 0}
    highest = 0
    for number in scene.rounds():
        serial = number + 1
        source = small_bundle(scene.folder / f"b{serial}", serial)
        killed = scene.killed(2.5, "bundle", "install", source)
        try:
            used = open_in_use(scene.folder / "data")
            check_whole(used)
            at = used.manifest.serial if used.trust == "signed" else 0
            BundleStore(scene.folder / "data").state()
        except EdgeHemoError:
            figures["broken"] += 1
            continue
        figures["broken"] += at < highest or (not killed and at != serial)
        highest = max(highest, at)
        figures["rounds"] += 1
        figures["killed"] += killed
        figures["installed"] += not killed
    return figures


def profile_writing(scene: Scene) -> Figures:
    """A profile that is extended: it can always be read, and its revision only rises."""
    profile = scene.folder / "profile.json"
    figures = {"rounds": 0, "killed": 0, "written": 0, "broken": 0}
    revision = 0
    for number in scene.rounds():
        arguments = ["calibrate", "scale", "--um-per-px", f"0.2{number % 10}", "--out", profile]
        killed = scene.killed(2.0, *arguments)
        figures["rounds"] += 1
        figures["killed"] += killed
        figures["written"] += not killed
        if not profile.exists():
            figures["broken"] += not killed
            continue
        try:
            now = load_profile(profile).revision
        except EdgeHemoError:
            figures["broken"] += 1
            continue
        figures["broken"] += now < revision
        revision = now
    scene.ended("calibrate", "scale", "--um-per-px", "0.2", "--out", profile)
    figures["broken"] += len(list(scene.folder.glob(".edgehemo-*.part")))
    return figures


def new_keys(scene: Scene) -> Figures:
    """Half a key blocks no name: the second call always makes or finishes it."""
    figures = {"rounds": 0, "killed": 0, "broken": 0}
    for number in scene.rounds():
        killed = scene.killed(0.9, "keys", "new", "--name", f"k{number}")
        figures["rounds"] += 1
        figures["killed"] += killed
        private, public = (scene.folder / "keys" / f"k{number}{s}" for s in (".key", ".pub"))
        if killed and not public.exists():
            code, _ = scene.ended("keys", "new", "--name", f"k{number}")
            figures["broken"] += code != 0
        figures["broken"] += not (private.exists() and public.exists())
    return figures
