"""Are there published weaknesses in what ships? Asked of OSV or the package index by pip-audit.

An audit that could not ask says so and fails: silence is not innocence. So each service is first
asked about a package whose weaknesses have been public for years; one that knows of none knows
nothing. Each package it passed over is named, and fails the audit as well.

``python -m edgehemo_firmware.dependencies.audit [--osv-url URL]``: 0 no weakness is known, 1 some
are, 2 not audited.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgehemo.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_WITHHELD,
    EdgeHemoError,
    MissingDependencyError,
)
from edgehemo_firmware.dependencies.lock import (
    LockedPackage,
    locked_for,
    read_lock,
    shipped_lock,
)
from edgehemo_firmware.dependencies.targets import TARGETS

# Name and version of what every advisory data base has had weaknesses of since 2014.
KNOWN_WEAK = ("jinja2", "2.4.1")
# Asked in this order; what the option of pip-audit is called, and what people call it.
SERVICES: Mapping[str, str] = {"osv": "OSV", "pypi": "the package index"}
# For the whole of one question; a lock has some forty packages.
ASK_S = 300.0
NOT_AUDITED = "not audited: the advisory data could not be had"


class NotAuditedError(EdgeHemoError):
    """No service answered, or none that knows anything."""

    exit_code = EXIT_BAD_INPUT
    code = "FAILED"


@dataclass(frozen=True, slots=True)
class Weakness:
    """One advisory: of which package, what it is called, the versions that mend it."""

    package: str
    version: str
    names: tuple[str, ...]
    mended_in: tuple[str, ...]

    def __str__(self) -> str:
        mended = f"mended in {', '.join(self.mended_in)}" if self.mended_in else "not mended yet"
        return f"{self.package} {self.version}: {', '.join(self.names)}; {mended}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said of some packages: their weaknesses, and those it did not look at."""

    weaknesses: tuple[Weakness, ...]
    passed_over: tuple[str, ...]


# Name and version of each package -> what a service says of them.
Ask = Callable[[Iterable[tuple[str, str]]], Answer]


@dataclass(frozen=True, slots=True)
class Audit:
    """asked: who answered. packages: how many versions were asked about."""

    asked: str
    packages: int
    answer: Answer

    @property
    def exit_code(self) -> int:
        if self.answer.weaknesses:
            return EXIT_WITHHELD
        return EXIT_BAD_INPUT if self.answer.passed_over else EXIT_DONE

    def lines(self) -> list[str]:
        lines = [str(weakness) for weakness in self.answer.weaknesses]
        lines += [f"not audited: {text}" for text in self.answer.passed_over]
        found = len(self.answer.weaknesses)
        known = f"{found} known weaknesses" if found else "no known weakness"
        asked = self.packages - len(self.answer.passed_over)
        return [*lines, f"{asked} of {self.packages} packages audited by {self.asked}: {known}"]


def audited(packages: Sequence[LockedPackage], services: Mapping[str, Ask]) -> Audit:
    """Ask the first service that knows of old weaknesses about every version of the lock.

    services: what each is called -> how it is asked. Raises NotAuditedError with what each said.
    """
    said = []
    for name, ask in services.items():
        try:
            if not ask([KNOWN_WEAK]).weaknesses:
                said.append(
                    f"{name} knows of no weakness in {' '.join(KNOWN_WEAK)}, which has some"
                )
                continue
            return Audit(name, len(_versions(packages)), _asked_by_target(packages, ask))
        except NotAuditedError as error:
            said.append(f"{name}: {error}")
    raise NotAuditedError(f"{NOT_AUDITED} ({'; '.join(said)}); audit on a machine with a network")


def _versions(packages: Iterable[LockedPackage]) -> set[tuple[str, str]]:
    return {(package.name, package.version) for package in packages}


def _asked_by_target(packages: Sequence[LockedPackage], ask: Ask) -> Answer:
    """pip-audit takes one version of a name at a time: the targets in turn, nothing twice."""
    weaknesses: list[Weakness] = []
    passed_over: list[str] = []
    left = _versions(packages)
    for target in TARGETS:
        group = left & _versions(locked_for(packages, target))
        left -= group
        if group:
            answer = ask(sorted(group))
            weaknesses += answer.weaknesses
            passed_over += answer.passed_over
    passed_over += [f"{name} {version} counts on no target" for name, version in sorted(left)]
    return Answer(tuple(weaknesses), tuple(passed_over))


def pip_audit(service: str, *, osv_url: str | None = None) -> Ask:
    """How pip-audit is asked; ``osv_url``: another server of OSV's interface, such as one's own."""

    def ask(packages: Iterable[tuple[str, str]]) -> Answer:
        with tempfile.TemporaryDirectory() as scratch:
            wanted, told = Path(scratch) / "wanted.txt", Path(scratch) / "told.json"
            wanted.write_text("".join(f"{name}=={version}\n" for name, version in packages))
            command = [
                sys.executable, "-P", "-m", "pip_audit", "--requirement", str(wanted),
                "--no-deps", "--disable-pip", "--vulnerability-service", service,
                "--format", "json", "--output", str(told), "--progress-spinner", "off",
                "--cache-dir", str(Path(scratch) / "cache"),
                *(["--osv-url", osv_url] if osv_url else []),
            ]  # fmt: skip
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S)
            except subprocess.TimeoutExpired:
                raise NotAuditedError(f"no answer within {ASK_S:g} s") from None
            if "No module named pip_audit" in done.stderr:
                raise MissingDependencyError('pip-audit is not installed: pip install ".[supply]"')
            try:
                return answer_of(json.loads(told.read_text("utf-8")))
            except (OSError, ValueError, KeyError, TypeError):
                raise NotAuditedError(_last_line(done.stderr)) from None

    return ask


def answer_of(told: Mapping[str, object]) -> Answer:
    """What pip-audit's JSON says."""
    weaknesses, passed_over = [], []
    dependencies = told["dependencies"]
    assert isinstance(dependencies, list)
    for item in dependencies:
        if "skip_reason" in item:
            passed_over.append(f"{item['name']}: {item['skip_reason']}")
            continue
        weaknesses += [
            Weakness(
                item["name"],
                item["version"],
                (found["id"], *found.get("aliases", ())),
                tuple(found.get("fix_versions", ())),
            )
            for found in item["vulns"]
        ]
    return Answer(tuple(weaknesses), tuple(passed_over))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else "no answer"


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the lock and print what was found."""
    parser = argparse.ArgumentParser(description="Look for known weaknesses in what ships.")
    parser.add_argument(
        "--osv-url", help="ask this server of OSV's interface (https://HOST/v1/query) and no other"
    )
    options = parser.parse_args(arguments)
    if options.osv_url:
        services = {options.osv_url: pip_audit("osv", osv_url=options.osv_url)}
    else:
        services = {name: pip_audit(service) for service, name in SERVICES.items()}
    audit = audited(read_lock(shipped_lock().read_text("utf-8")), services)
    print("\n".join(audit.lines()))
    return audit.exit_code


if __name__ == "__main__":
    from edgehemo_firmware.dependencies.running import run_as_tool

    run_as_tool(main)
