"""Whether a bundle is whole, vouched for, and answers here as it did where it was made."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.bundle import Bundle
from edgehemo.bundle.manifest import Artefact, ModelEntry, Precision
from edgehemo.errors import BundleError, EdgeHemoError, MissingDependencyError
from edgehemo.inference import Runner, check_graph
from edgehemo.inference.worker import WorkerRunner


@dataclass(frozen=True, slots=True)
class SampleGate:
    """How far an artefact may answer from PyTorch on the bundle's own samples.

    limit: the largest difference, as a share of the answer where that is above 1. of_recorded:
    times the difference that the export recorded comes on top.
    """

    limit: float
    of_recorded: float = 0.0

    def allowed(self, recorded: float | None) -> float:
        """The largest difference allowed where the export recorded this one."""
        return self.of_recorded * (recorded or 0.0) + self.limit


# An int8 graph may round otherwise on another processor.
SAMPLE_GATES: Mapping[Precision, SampleGate] = {
    "fp32": SampleGate(1e-3),
    "fp16": SampleGate(1e-2),
    "int8": SampleGate(0.02, of_recorded=2.0),
}
# The limits that hang on nothing recorded: the export holds its artefacts to the same.
GATES: Mapping[Precision, float] = {
    precision: gate.limit for precision, gate in SAMPLE_GATES.items() if not gate.of_recorded
}

# Inputs uint8 (1, h, w, 3), each with PyTorch's answer.
Samples = list[tuple[NDArray[np.uint8], NDArray[np.float32]]]
Verdict = Literal["pass", "fail", "not run"]


@dataclass(frozen=True)
class VerifiedArtefact:
    """parity: the export's figures and, where it was run, what was seen here.

    gate: ``not run`` where this installation has no such runtime. problem: what is wrong.
    """

    model: str
    artefact: Artefact
    parity: dict[str, float]
    gate: Verdict
    runtime: str | None
    problem: str | None


def verify_artefacts(bundle: Bundle, *, threads: int) -> Iterator[VerifiedArtefact]:
    """Each artefact in turn: its digests, its graph, its answers to the bundle's samples."""
    for entry in bundle.manifest.models:
        for artefact in entry.artefacts:
            yield _verified(bundle, entry, artefact, threads)


def _verified(
    bundle: Bundle, entry: ModelEntry, artefact: Artefact, threads: int
) -> VerifiedArtefact:
    parity = dict(artefact.parity)
    runtime: str | None = None
    problem: str | None = None
    gate: Verdict = "pass"
    try:
        path = bundle.checked_file(artefact.file, artefact.sha256)
        if artefact.companion is not None:
            bundle.checked_file(artefact.companion.file, artefact.companion.sha256)
        with WorkerRunner(
            path, artefact.format, threads=threads, digests=artefact.digests
        ) as runner:
            runtime = f"{runner.name} {runner.version}"
            check_graph(runner, entry, artefact, bundle.graph(entry.task)[2])
            samples = read_samples(bundle, entry)
            if samples and artefact.reproduction is not None:
                seen = sample_difference(runner, samples)
                parity["sample_difference"] = round(seen, 6)
                parity["sample_difference_at_export"] = artefact.reproduction
                problem = too_far(seen, artefact)
    except MissingDependencyError as error:
        gate, problem = "not run", str(error)
    except EdgeHemoError as error:
        problem = str(error)
    if problem is not None and gate == "pass":
        gate = "fail"
    return VerifiedArtefact(entry.name, artefact, parity, gate, runtime, problem)


def allowed_difference(artefact: Artefact) -> float:
    """How far an artefact may answer from PyTorch on the bundle's samples, on any machine."""
    return SAMPLE_GATES[artefact.precision].allowed(artefact.reproduction)


def too_far(seen: float, artefact: Artefact) -> str | None:
    """What is wrong where an artefact's answers are ``seen`` from PyTorch's; None where that is
    allowed.
    """
    limit = allowed_difference(artefact)
    if seen <= limit:
        return None
    return f"differs from PyTorch by {seen:.2e} on the bundle's samples, {limit:.2e} is allowed"


def sample_difference(runner: Runner, samples: Samples) -> float:
    """Largest difference from PyTorch's answers to the samples, relative where those are above 1;
    infinite for what is no number or of another shape.
    """
    return max(_apart(runner.run(codes), wanted) for codes, wanted in samples)


def read_samples(bundle: Bundle, entry: ModelEntry) -> Samples:
    """The model's sample inputs with PyTorch's answers; empty where the bundle has none."""
    if entry.samples is None:
        return []
    digest = bundle.manifest.files.get(entry.samples)
    if digest is None:
        raise BundleError(f"{entry.samples} has no digest in the manifest; export the bundle again")
    content = io.BytesIO(bundle.checked_bytes(entry.samples, digest))
    try:
        with np.load(content, allow_pickle=False) as stored:
            count = sum(name.startswith("input_") for name in stored.files)
            return [
                (
                    np.asarray(stored[f"input_{i}"], np.uint8),
                    np.asarray(stored[f"answer_{i}"], np.float32),
                )
                for i in range(count)
            ]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"{entry.samples}: cannot be read ({error})") from None


def _apart(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    if got.shape != wanted.shape:
        return float("inf")
    apart = np.abs(got - wanted) / np.maximum(1.0, np.abs(wanted))
    return float(np.where(np.isfinite(apart), apart, np.inf).max(initial=0.0))
