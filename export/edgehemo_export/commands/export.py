"""`edgehemo export`: checkpoints to a bundle of verified artefacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD
from edgehemo_export.commands.options import format_option, need_host, precision_options
from edgehemo_export.quantisation.formats import chosen_formats, refuse_unsupported

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import Precision
    from edgehemo_export.quantisation.options import ExportRow


@click.command()
@click.argument(
    "checkpoints",
    metavar="CKPT...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
)
@precision_options
@format_option
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Data root, folder or list of images to calibrate int8 on; int8 has no default.",
)
@click.option(
    "--evaluation",
    type=click.Path(path_type=Path),
    help="Data root with labels for the parity gates [default: --calibration's tune part].",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Bundle to write: a folder, or one file where the name ends in .zip.",
)
@click.option("--name", default="edgehemo", show_default=True, help="Name in the manifest.")
@click.option(
    "--accuracy-control/--one-recipe",
    default=True,
    show_default=True,
    help="Where int8 fails its gate: try the other recipes, at last with more and more layers in "
    "float, until it holds; or stop at the first.",
)
@click.option("--fresh", is_flag=True, help="Make again what is up to date in an older bundle.")
@click.option(
    "--keep-others",
    is_flag=True,
    help="Models of the bundle at --out of which no checkpoint is given stay byte for byte; where "
    "there is none yet, those of the shipped bundle.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Private key to sign with [default: this user's, made when there is none].",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@common.json_option
def export(
    checkpoints: tuple[Path, ...],
    precisions: tuple[Precision, ...],
    formats: tuple[str, ...],
    calibration: Path | None,
    evaluation: Path | None,
    out: Path,
    name: str,
    accuracy_control: bool,
    fresh: bool,
    keep_others: bool,
    key: Path | None,
    threads: int,
    json_file: str | None,
) -> int:
    """Export checkpoints to a bundle: quantise, reopen each artefact in its runtime, verify.

    An artefact that fails its gate is not in the bundle, and the command exits with 1; what an
    older bundle in the same place holds is never lost to that. What is up to date there is taken
    over. A head on another model's features (the anaemia screen on the field estimator's) becomes a
    part of that one's graph where both are given.
    """
    from edgehemo.bundle.bundle import SHIPPED_BUNDLE
    from edgehemo_export.quantisation.options import ExportOptions

    options = ExportOptions(
        formats=chosen_formats(formats),
        precisions=precisions,
        calibration=calibration,
        evaluation=evaluation,
        name=name,
        accuracy_control=accuracy_control,
        fresh=fresh,
        keep_others=keep_others,
        threads=threads,
    )
    options.refuse_uncalibrated()
    refuse_unsupported(options.formats, precisions)
    need_host()
    import cv2
    import torch
    from rich.console import Console

    from edgehemo_export.checkpoints import load_checkpoint
    from edgehemo_export.models.heads import trained_models
    from edgehemo_export.output import ExportEntry, ExportOutput
    from edgehemo_export.quantisation.bundling import export_bundle, refuse_twins
    from edgehemo_export.quantisation.signing import signer_for

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    loaded = [(path, load_checkpoint(path)) for path in checkpoints]
    refuse_twins(loaded)
    trained = trained_models(loaded)
    # The package's own bundle is vouched for by the package; see `edgehemo.bundle.bundle`.
    shipped = out.resolve() == SHIPPED_BUNDLE.resolve()
    signer = None if shipped and key is None else signer_for(key, out)
    if signer is not None and signer.made is not None:
        click.echo(
            f"made a signing key for this user: {signer.made}; other devices trust its bundles "
            f"once {signer.made.with_suffix('.pub').name} lies in their key folder",
            err=True,
        )
    console = Console(stderr=True)
    with console.status("exporting") as status:

        def say(text: str) -> None:
            if console.is_terminal:
                status.update(f"exporting: {text}")
            else:
                common.tell(text)

        rows = export_bundle(trained, out, options, signer=signer, say=say)
    for warning in dict.fromkeys(text for row in rows for text in row.warnings):
        common.complain(f"warning: {warning}")
    common.write_json(
        json_file,
        ExportOutput(
            bundle=str(out),
            signed_by=None if signer is None else signer.key.public.identifier,
            artefacts=[ExportEntry.of(row) for row in rows],
        ),
    )
    if json_file != common.STDOUT:
        _print_export(out, rows)
    failed = [row for row in rows if row.artefact is None]
    for row in failed:
        common.complain(f"{row.model} {row.format} {row.precision} fails its gate: {row.problem}")
    return EXIT_WITHHELD if failed else EXIT_DONE


def _print_export(out: Path, rows: list[ExportRow]) -> None:
    """A line an artefact, below it the figures of its gate beside PyTorch's."""
    from edgehemo_export.quantisation.gates import DIFFERENCE, MEAN_DIFFERENCE

    common.say(str(out))
    for row in rows:
        made = row.artefact
        if made is None:
            click.echo(f"{row.model:<16}{row.format:<10}{row.precision:<6}{'':>11}  {row.gate}")
            continue
        took = f"{row.seconds:.0f} s" if row.seconds else "up to date"
        click.echo(
            f"{row.model:<16}{made.format:<10}{made.precision:<6}"
            f"{made.total_bytes / 1e6:>8.2f} MB  {row.gate}  {took}"
        )
        apart = f"difference at most {made.parity[DIFFERENCE]:.1e}, mean "
        figures = [apart + f"{made.parity[MEAN_DIFFERENCE]:.1e}"]
        for name, value in made.parity.items():
            reference = made.parity.get(f"{name}_pytorch")
            if reference is not None:
                figures.append(f"{name} {value:.5g} (PyTorch {reference:.5g})")
        click.echo("    " + "; ".join(figures))
