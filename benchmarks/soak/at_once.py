"""Several at once: each either does its work or is refused in one line, and none is lost."""

from __future__ import annotations

from edgehemo.device.installed_bundles import check_whole, open_in_use
from edgehemo.errors import EdgeHemoError
from edgehemo.profile.profile import load_profile
from soak.attack import LIMIT_S, Figures, Scene, is_one_line, sample_in, two_samples
from tests.support.bundle_makers import small_bundle

TOGETHER = 5


def bundle_install(scene: Scene) -> Figures:
    """Bundles installed together; the newest is in use afterwards, and whole."""
    figures = {"rounds": 0, "installations": 0, "broken": 0}
    for number in scene.rounds():
        serials = [TOGETHER * number + 1 + i for i in range(TOGETHER)]
        sources = [small_bundle(scene.folder / f"b{serial}", serial) for serial in serials]
        scene.rng.shuffle(sources)
        running = [scene.start("bundle", "install", source) for source in sources]
        said = [process.communicate(timeout=LIMIT_S)[1] for process in running]
        try:
            used = open_in_use(scene.folder / "data")
            check_whole(used)
            figures["broken"] += used.manifest.serial != serials[-1]
        except EdgeHemoError:
            figures["broken"] += 1
        figures["broken"] += sum(not is_one_line(text) for text in said)
        figures["rounds"] += 1
        figures["installations"] += TOGETHER
    return figures


def profile_writing(scene: Scene) -> Figures:
    """One profile extended by several: every update is counted in its revision."""
    profile = scene.folder / "profile.json"
    figures = {"rounds": 0, "updates": 0, "lost": 0, "broken": 0}
    for number in scene.rounds():
        running = [
            scene.start("calibrate", "scale", "--um-per-px", f"0.2{i}", "--out", profile)
            for i in range(TOGETHER)
        ]
        for process in running:
            process.communicate(timeout=LIMIT_S)
        figures["rounds"] += 1
        figures["updates"] += TOGETHER
        figures["lost"] = TOGETHER * (number + 1) - load_profile(profile).revision
    figures["broken"] = figures["lost"]
    return figures


def screening(scene: Scene) -> Figures:
    """Two samples into one folder: one at a time, the other is refused, nothing is mixed."""
    samples = two_samples(scene.folder)
    figures = {"rounds": 0, "refused": 0, "broken": 0}
    for number in scene.rounds():
        out = scene.folder / f"out{number % 4}"
        running = [scene.start("screen", sample, "--out", out, "--force") for sample in samples]
        said = [process.communicate(timeout=LIMIT_S)[1] for process in running]
        refused = sum(process.returncode == 2 for process in running)
        figures["rounds"] += 1
        figures["refused"] += refused
        figures["broken"] += sample_in(out) not in ("a", "b") or refused == len(running)
        figures["broken"] += sum(not is_one_line(text) for text in said)
    return figures
