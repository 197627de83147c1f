"""What a data folder holds for the study: patients to learn from, and other sources to try on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgehemo.errors import UsageError
from edgehemo.simulation.panels import read_panels
from edgehemo_export.data.sets import anerbc, set_folder
from edgehemo_export.studies.yang.configuration import YangConfiguration
from edgehemo_export.studies.yang.pairs import (
    ANERBC_NAME,
    TABLE,
    Sample,
    paired_source,
    samples_of_anerbc,
    samples_of_folder,
)
from edgehemo_export.studies.yang.patients import Source, at_scale
from edgehemo_export.studies.yang.simulated import laboratory, patients_by_laboratory

EXTERNAL = "external"
PANELS = "cbc_panels.csv"
# AneRBC with its pictures is learnt from where it has pairs of so many patients; with fewer its
# blood counts are drawn from.
ENOUGH_PATIENTS = 50

Tell = Callable[[str], None]


@dataclass(frozen=True)
class FoundPairs:
    """A set of pairs by name. own: a folder with a table, no public set."""

    name: str
    samples: Sequence[Sample]
    own: bool

    @property
    def files(self) -> list[Path]:
        return [path for sample in self.samples for path in sample.images]

    @property
    def patients(self) -> int:
        return len({sample.group for sample in self.samples})


@dataclass(frozen=True)
class FoundData:
    """pairs: what is learnt from, None where fields are drawn from the blood counts of the table
    ``panels``. external: further sources.
    """

    pairs: FoundPairs | None
    panels: Path | None
    external: tuple[FoundPairs, ...] = field(default_factory=tuple)
    tables: tuple[Path, ...] = ()

    @property
    def simulated(self) -> bool:
        return self.pairs is None

    @property
    def files(self) -> list[Path]:
        """Every file that the study's answer depends on."""
        found = [*self.tables]
        for pairs in (self.pairs, *self.external):
            if pairs is not None:
                found += pairs.files
        return sorted(set(found))


def find_data(data: Path) -> FoundData:
    """What lies in a data folder.

    A folder with ``pairs.csv`` is learnt from, with ``external/NAME/pairs.csv`` as other sources;
    else a data root with AneRBC. Raises UsageError, one line, where it is neither.
    """
    if (data / TABLE).is_file():
        return _own(data)
    folder = set_folder(data, anerbc.SOURCE)
    if folder is None:
        raise UsageError(
            f"{data}: the study looks for {TABLE} with pictures (columns sample or image, "
            "hgb_g_per_l, hct_l_per_l, rbc_1e12_per_l), or for a data root with a folder "
            f"{anerbc.FOLDERS[0]}: neither is there"
        )
    pairs = FoundPairs(ANERBC_NAME, samples_of_anerbc(data), own=False)
    tables = tuple(path for path in (folder / TABLE, folder / PANELS) if path.is_file())
    if pairs.patients >= ENOUGH_PATIENTS:
        return FoundData(pairs, None, tables=tables)
    if not (folder / PANELS).is_file():
        raise UsageError(
            f"{folder}: {pairs.patients} patients with pictures are too few to learn from (at "
            f"least {ENOUGH_PATIENTS}), and there is no {PANELS} with blood counts to draw "
            "fields from"
        )
    return FoundData(None, folder / PANELS, (pairs,) if pairs.samples else (), tables)


def _own(data: Path) -> FoundData:
    folders = sorted(path.parent for path in (data / EXTERNAL).glob(f"*/{TABLE}"))
    external = tuple(FoundPairs(each.name, samples_of_folder(each), own=True) for each in folders)
    tables = (data / TABLE, *(each / TABLE for each in folders))
    return FoundData(
        FoundPairs(data.resolve().name, samples_of_folder(data), own=True), None, external, tables
    )


def read_sources(
    found: FoundData, configuration: YangConfiguration, cache: Path | None, tell: Tell
) -> list[Source]:
    """The internal source first, then the external ones, read or drawn, all from the cache where
    it holds them.
    """
    options = configuration.fields
    sources: list[Source] = []
    if found.panels is not None:
        simulated = configuration.simulated
        by_laboratory = patients_by_laboratory(read_panels(found.panels), simulated)
        sources += [
            laboratory(number, panels, simulated, cache, tell)
            for number, panels in enumerate(by_laboratory)
        ]
    if found.pairs is not None:
        sources.append(_read(found.pairs, configuration, options.keep_refused, cache, tell))
    sources += [
        _read(pairs, configuration, options.keep_refused_external, cache, tell)
        for pairs in found.external
    ]
    return [at_scale(source, options.um_per_px) for source in sources]


def _read(
    pairs: FoundPairs,
    configuration: YangConfiguration,
    keep_refused: bool,
    cache: Path | None,
    tell: Tell,
) -> Source:
    options = configuration.fields
    return paired_source(
        pairs.name,
        pairs.samples,
        picture_um_per_px=options.pairs_um_per_px if pairs.own else 0.0,
        keep_refused=keep_refused,
        cache=cache,
        tell=tell,
    )
