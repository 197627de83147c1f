"""What the workstation's commands write: one row a schema."""

from __future__ import annotations

from edgehemo.files.json_schema import Document
from edgehemo_export.output import (
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
)
