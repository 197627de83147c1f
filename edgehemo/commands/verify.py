"""`edgehemo verify`: is this bundle whole, vouched for, and does it answer as it should here?"""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True)
@common.json_option
def verify(bundle: Path | None, threads: int, json_file: str | None) -> int:
    """Check BUNDLE (default: the one that comes with edgehemo): signature, digests, answers.

    Each artefact is opened in its runtime in a fresh process and run on the samples the bundle
    carries. One whose runtime is not installed here is named and not counted as a failure.
    """
    from edgehemo.bundle.bundle import load_bundle
    from edgehemo.errors import BundleError
    from edgehemo.inference.output import VerifyEntry, VerifyOutput
    from edgehemo.inference.verification import verify_artefacts

    loaded = load_bundle(bundle, trust="files-only")
    problems: list[str] = []
    try:
        trust = load_bundle(bundle)
    except BundleError as error:
        trust = loaded
        problems.append(str(error))
    try:
        loaded.check_files()
    except BundleError as error:
        problems.append(str(error))
    problems += [f"{name} is not named in the manifest" for name in loaded.strangers()]
    rows = []
    with common.Progress("verifying", sum(len(m.artefacts) for m in loaded.manifest.models)) as bar:
        for row in verify_artefacts(loaded, threads=threads):
            rows.append(row)
            bar.advance(row.artefact.file)
    vouched = {"signed": f"signed by {trust.signed_by}", "shipped": "comes with edgehemo"}
    said = vouched.get(trust.trust, "nobody vouches for it")
    common.say(
        f"{loaded.manifest.name} serial {loaded.manifest.serial}, {loaded.digest[:12]}: {said}",
        json_file,
    )
    for row in rows:
        made = row.artefact
        seen = row.parity.get("sample_difference")
        figures = "" if seen is None else f"  samples differ by {seen:.1e}"
        common.say(
            f"{row.model:<16}{made.format:<10}{made.precision:<6}"
            f"{made.total_bytes / 1e6:>8.2f} MB  {row.gate}{figures}",
            json_file,
        )
        if row.problem is not None:
            common.complain(f"{made.file}: {row.problem}")
    for problem in problems:
        common.complain(problem)
    failed = bool(problems) or any(row.gate == "fail" for row in rows)
    common.write_json(
        json_file,
        VerifyOutput(
            bundle=str(loaded.path),
            name=loaded.manifest.name,
            serial=loaded.manifest.serial,
            sha256=loaded.digest,
            trust=trust.trust,
            signed_by=trust.signed_by,
            problems=problems,
            artefacts=[VerifyEntry.of(row) for row in rows],
        ),
    )
    return EXIT_WITHHELD if failed else EXIT_DONE
