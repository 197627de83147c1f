"""What the workstation's commands write: one row a schema."""

from __future__ import annotations

from edgehemo.files.json_schema import Document
from edgehemo_export.data.fetching.locks import DataLock
from edgehemo_export.output import (
    ConfigShowOutput,
    DataCheckOutput,
    DataGetOutput,
    DataListOutput,
    DatasetDrawOutput,
    DatasetManifestOutput,
    EvaluateOutput,
    ExportOutput,
    TrainOutput,
)
from edgehemo_export.studies.output import StudyOutput

DOCUMENTS = (
    Document("train", "what `edgehemo train` wrote", (TrainOutput,)),
    Document("evaluate", "a checkpoint on kept-out data", (EvaluateOutput,)),
    Document("export", "the artefacts of an exported bundle", (ExportOutput,)),
    Document("study", "a paper's study repeated", (StudyOutput,)),
    Document("dataset-manifest", "the public sets in numbers", (DatasetManifestOutput,)),
    Document("data-check", "what is wrong with a folder of data", (DataCheckOutput,)),
    Document("dataset-draw", "a data set drawn to practise on", (DatasetDrawOutput,)),
    Document("data-list", "the data sets that are had by name", (DataListOutput,)),
    Document("data-get", "what was fetched into a data root", (DataGetOutput,)),
    Document("data-lock", "what was fetched, file by file", (DataLock,)),
    Document("config-show", "the configuration a training has in force", (ConfigShowOutput,)),
)
