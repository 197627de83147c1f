"""A model bundle as pages show it: whose it is, what it holds, how good that was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgehemo.bundle.bundle import Bundle
from edgehemo.bundle.manifest import Metric, ModelEntry, ModelTask
from edgehemo.device.installed_bundles import Installed
from edgehemo.kiosk.engineering.profile_view import Fact, Verdict
from edgehemo.words.language import Words

# Of a model's figures the first says most: its card begins with it.
_DIGITS = 2


@dataclass(frozen=True, slots=True)
class BundleView:
    """key: of its address. role: what it is to this device, in words. figures: of each model, its
    first. problem: in English, why it cannot be used.
    """

    key: str
    title: str
    role: str
    in_use: bool
    is_before: bool
    verdict: Verdict
    facts: Sequence[Fact]
    figures: Sequence[Fact]
    problem: str | None


def task_name(words: Words, task: ModelTask) -> str:
    """What a model does."""
    _ = words._
    return {
        "cell_finder": _("finds cells"),
        "nucleated": _("names white cells"),
        "morphology": _("names red cells"),
        "field_estimator": _("estimates haemoglobin"),
        "anaemia_screen": _("anaemia screen"),
    }[task]


def installed_view(item: Installed, in_use: bool, words: Words) -> BundleView:
    """A bundle of the device's store. in_use: whether the device screens with it."""
    _ = words._
    role = _("in use") if in_use else _("the one before") if item.previous else _("left over")
    return _view(item.folder, item.bundle, role, in_use, item.previous, item.problem, words)


def shipped_view(bundle: Bundle, in_use: bool, words: Words) -> BundleView:
    """The bundle that comes with edgehemo."""
    _ = words._
    role = _("in use") if in_use else _("comes with edgehemo")
    return _view("shipped", bundle, role, in_use, False, None, words)


def _view(
    key: str,
    bundle: Bundle | None,
    role: str,
    in_use: bool,
    is_before: bool,
    problem: str | None,
    words: Words,
) -> BundleView:
    if bundle is None:
        return BundleView(key, key, role, in_use, is_before, "fails", (), (), problem)
    manifest = bundle.manifest
    unsigned = bundle.trust == "unsigned"
    verdict: Verdict = "fails" if problem else "soon" if unsigned else "good"
    return BundleView(
        key,
        f"{manifest.name} {manifest.serial}",
        role,
        in_use,
        is_before,
        verdict,
        bundle_facts(bundle, words),
        [_figure(entry, words) for entry in manifest.models],
        problem,
    )


def bundle_facts(bundle: Bundle, words: Words) -> list[Fact]:
    """Who vouches for it, when it was made, what it comes in."""
    _ = words._
    trust = {
        "shipped": Fact(_("Vouched for"), _("comes with edgehemo"), "good"),
        "signed": Fact(_("Signed by"), bundle.signed_by or "", "good"),
        "unsigned": Fact(_("Signed by"), _("nobody"), "soon"),
    }[bundle.trust]
    formats = sorted(
        {
            f"{artefact.format} {artefact.precision}"
            for entry in bundle.manifest.models
            for artefact in entry.artefacts
        }
    )
    return [
        trust,
        Fact(_("Made"), words.date(bundle.manifest.created_at.astimezone())),
        Fact(_("Formats"), ", ".join(formats)),
        Fact(_("Digest"), bundle.digest[:16]),
    ]


def _figure(entry: ModelEntry, words: Words) -> Fact:
    called = task_name(words, entry.task)
    if not entry.metrics:
        return Fact(called, words._("no figure"), "soon")
    return Fact(called, figure(entry.metrics[0], words))


def figure(metric: Metric, words: Words) -> str:
    """A figure with its interval and where it was measured; their names are the card's own."""
    said = f"{metric.name} {words.number(metric.value, _DIGITS)}"
    if metric.low is not None and metric.high is not None:
        low, high = words.number(metric.low, _DIGITS), words.number(metric.high, _DIGITS)
        said += f" ({low}–{high})"
    return f"{said}, {metric.source}"
