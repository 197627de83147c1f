"""`edgehemo calibrate types`: how often red cells of this microscope are named rightly."""

from __future__ import annotations

import secrets
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, BundleError, CalibrationError, UsageError
from edgehemo_calibration.commands.options import (
    checked_profile_option,
    images_argument,
    path_type,
    profile_options,
    scale_option,
)
from edgehemo_calibration.commands.profile_editing import finish, now, start

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgehemo.images.frame import Frame

    # The image a cell was cut from, what the model called it, and its picture.
    Drawn = tuple[str, str, NDArray[np.uint8]]


@click.group()
def types() -> None:
    """Check the types of red cells on this microscope: a person names cells drawn by lot.

    The types were learnt on another microscope. Their shares are given only where a person has
    agreed with them on this one. First `draw` a folder of cells, sort its pictures into its
    folders by type, then `check` it.
    """


@types.command()
@images_argument
@click.option(
    "--out", "folder", metavar="FOLDER", type=path_type, required=True, help="A new folder."
)
@click.option(
    "--cells",
    type=click.IntRange(min=1),
    help="How many cells to draw; 200 where nothing is said.",
)
@click.option("--seed", type=int, help="Draw the same cells again.")
@common.bundle_option
@checked_profile_option
@scale_option
@common.json_option
def draw(
    images: tuple[str, ...],
    folder: Path,
    cells: int | None,
    seed: int | None,
    bundle: Path | None,
    profile_path: Path | None,
    um_per_px: float | None,
    json_file: str | None,
) -> None:
    """Draw red cells by lot from each IMAGE (files, folders and what lies below).

    Take fields of several patients, healthy and ill. Of the fields that quality accepts every red
    cell that the model names has the same chance. Then move each picture from FOLDER/to_sort into
    the folder of its type. Do not open drawn.json before: it holds what the model said.
    """
    from edgehemo.capture import FailedSource, frames
    from edgehemo.device.equipment import open_equipment
    from edgehemo.errors import FieldError
    from edgehemo.files.staging import FolderBusyError, StagedFolder
    from edgehemo.images.reading import images_in
    from edgehemo_calibration.drawn_cells import (
        CELLS_WANTED,
        LEAST_CELLS,
        TO_SORT,
        DrawnCell,
        DrawnCells,
        Lot,
        named_red_cells,
        write_drawn,
    )
    from edgehemo_calibration.output import CellsDrawn

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is not empty; name a new folder")
    reader = open_equipment(bundle, profile_path).cells_reader(um_per_px)
    classifier = reader.typer.classifiers.get("morphology") if reader.typer is not None else None
    if classifier is None:
        raise BundleError("the model bundle names no red cells; there is nothing to check")
    chance = secrets.randbelow(2**31) if seed is None else seed
    lot: Lot[Drawn] = Lot(cells or CELLS_WANTED, chance)
    fields, refused = set(), 0
    sources = [str(picture) for picture in images_in(images, recursive=True)]
    with common.Progress("finding cells", common.total_of(sources)) as progress:
        for frame in frames(sources):
            progress.advance()
            if isinstance(frame, FailedSource):
                common.complain(f"{frame.image}: {frame.error}")
                continue
            try:
                reading = reader.read(frame)
            except FieldError as error:
                common.complain(f"{frame.source}: {error}")
                continue
            if not reading.accepted:
                refused += 1
                continue
            for x, y, name in named_red_cells(reading):
                fields.add(frame.source)
                lot.offer(partial(_cut, frame, (x, y), reading.um_per_px, name))
    if lot.seen < LEAST_CELLS:
        raise CalibrationError(
            f"the accepted fields hold {lot.seen} red cells that the model names, and "
            f"{LEAST_CELLS} are needed; take more fields ({refused} were refused)"
        )
    chosen = lot.shuffled()
    drawn = DrawnCells(
        model_sha256=classifier.entry.checkpoint_sha256,
        fields=len(fields),
        types=list(classifier.types),
        cells=[
            DrawnCell(file=f"cell_{number:04d}.png", image=image, type=name)
            for number, (image, name, _) in enumerate(chosen, start=1)
        ],
    )
    try:
        stage = StagedFolder(folder)
        try:
            write_drawn(stage.path, drawn, (picture for _, _, picture in chosen))
            stage.publish([])
        except BaseException:
            stage.discard()
            raise
    except FolderBusyError:
        raise UsageError(f"{folder}: another command is writing it") from None
    except OSError as error:
        raise CalibrationError(f"{folder}: cannot be written: {error.strerror or error}") from None
    common.say(
        f"{len(chosen)} of {lot.seen} named red cells of {drawn.fields} fields are in "
        f"{folder / TO_SORT}: move each into the folder of its type, then: edgehemo calibrate "
        f"types check {folder} --out PROFILE",
        json_file,
    )
    common.write_json(
        json_file,
        CellsDrawn(
            images=[],
            folder=str(folder),
            seed=chance,
            named=lot.seen,
            drawn=len(chosen),
            fields=drawn.fields,
            refused=refused,
        ),
    )


def _cut(frame: Frame, centre: tuple[float, float], um_per_px: float, name: str) -> Drawn:
    from edgehemo_calibration.drawn_cells import cell_picture

    return frame.source, name, cell_picture(frame.pixels, centre, um_per_px)


@types.command()
@click.argument("folder", metavar="FOLDER", type=path_type)
@profile_options
def check(
    folder: Path, base: Path | None, out: Path, json_file: str | None, **names: str | None
) -> int:
    """Compare the sorted pictures of FOLDER with what the model said, and keep it in the profile.

    Exit code 1 where the person agrees too seldom: then no shares are given on this microscope.
    """
    from edgehemo.profile.parts import RedCellTypesCheck
    from edgehemo.screening.types_check import AGREED_FROM, why_types_are_doubted
    from edgehemo.statistics.binomial import share_interval
    from edgehemo_calibration.drawn_cells import compared, disagreements, read_drawn, sorted_cells
    from edgehemo_calibration.output import Disagreement, TypesChecked, written

    drawn = read_drawn(folder)
    said = sorted_cells(folder, drawn)
    profile = start(base, out, names)
    part = RedCellTypesCheck(
        measured_at=now(),
        model_sha256=drawn.model_sha256,
        fields=drawn.fields,
        types=compared(drawn, said),
    )
    profile = profile.model_copy(update={"red_cell_types": part})
    differ = disagreements(drawn, said)
    low, high = share_interval(part.agreed, part.shown)
    doubted = why_types_are_doubted(part, part.model_sha256)
    output = TypesChecked(
        **written(profile, out),
        images=[],
        red_cell_types=part,
        agreed_low=round(low, 4),
        agreed_high=round(high, 4),
        differ=[Disagreement(model=m, person=p, cells=n) for m, p, n in differ],
        shares_given=doubted is None,
    )
    finish(profile, out, json_file, output)
    for item in part.types:
        common.say(f"{item.type}: {item.agreed} of {item.shown} agreed", json_file)
    for model, person, count in differ[:5]:
        common.say(f"  called {model}, sorted as {person}: {count}", json_file)
    common.say(
        f"a person agreed with {part.agreed} of {part.shown} names: "
        f"{100 * part.agreed / part.shown:.0f} % ({100 * low:.0f} to {100 * high:.0f})",
        json_file,
    )
    common.say(
        "shares of red-cell types are given on this microscope"
        if doubted is None
        else f"no shares are given: the lower end must reach {100 * AGREED_FROM:.0f} %. Name more "
        "cells, or train the model on cells of your own microscope",
        json_file,
    )
    return EXIT_DONE if doubted is None else EXIT_WITHHELD
