"""What the laboratory's commands write, and what it and kiosks say to each other."""

from __future__ import annotations

from edgehemo.files.json_schema import Document
from edgehemo.interop.laboratory import (
    Enrolled,
    Enrolment,
    Paired,
    PairedTaken,
    Receipt,
    Renewal,
    Renewed,
    Visit,
    Visited,
)
from edgehemo_laboratory.archive.equipment import ReadingFile
from edgehemo_laboratory.archive.output import (
    CompareOutput,
    DatasetOutput,
    IngestOutput,
    RereadOutput,
    StatusOutput,
)
from edgehemo_laboratory.archive.place import ArchiveFile
from edgehemo_laboratory.output import (
    DemoOutput,
    EnrolOutput,
    ExportOutput,
    KiosksOutput,
    PeopleOutput,
    VerifyOutput,
)
from edgehemo_laboratory.settings import LaboratorySettings
from edgehemo_laboratory.steering.output import (
    PublicationOutput,
    PublicationsOutput,
    StickOutput,
    TakeOutput,
)

DOCUMENTS = (
    Document(
        "laboratory",
        "the settings of a laboratory, a TOML file",
        (LaboratorySettings,),
        written=False,
    ),
    Document("laboratory-kiosks", "the kiosks of a laboratory", (KiosksOutput,)),
    Document("laboratory-enrol", "a pairing code for a kiosk", (EnrolOutput,)),
    Document("laboratory-demo", "a small laboratory that was tried here", (DemoOutput,)),
    Document("laboratory-export", "results that a laboratory exported", (ExportOutput,)),
    Document("laboratory-people", "who may sign in at a laboratory", (PeopleOutput,)),
    Document("laboratory-verify", "whether what is stored holds together", (VerifyOutput,)),
    Document("archive", "what says that an archive of fields is one", (ArchiveFile,)),
    Document("archive-reading", "with what a reading of an archive is made", (ReadingFile,)),
    Document("archive-ingest", "fields that came into an archive", (IngestOutput,)),
    Document("archive-status", "what is in an archive and how far it is read", (StatusOutput,)),
    Document("archive-reread", "what a run over an archive came to", (RereadOutput,)),
    Document(
        "laboratory-publications", "what is published, and what runs where", (PublicationsOutput,)
    ),
    Document(
        "laboratory-publication", "a publication that something was done with", (PublicationOutput,)
    ),
    Document("laboratory-stick", "what was written to a stick for kiosks", (StickOutput,)),
    Document("laboratory-take", "what a stick brought from kiosks", (TakeOutput,)),
    Document("archive-dataset", "a training set made from an archive by query", (DatasetOutput,)),
    Document("archive-compare", "one bundle's reading against another's", (CompareOutput,)),
    Document("receipt", "what a laboratory answers to a batch of results", (Receipt,)),
    Document("enrolment", "a kiosk comes to a laboratory for the first time", (Enrolment,)),
    Document("enrolled", "what a kiosk gets that came with its code", (Enrolled,)),
    Document("renewal", "a kiosk wants a certificate for another key", (Renewal,)),
    Document("renewed", "the certificate for another key", (Renewed,)),
    Document("visit", "a kiosk asks its laboratory what there is to do", (Visit,)),
    Document("paired", "what analysers measured, as a kiosk sends it", (Paired,)),
    Document("paired-taken", "up to where a laboratory has analyser values", (PairedTaken,)),
    Document("visited", "what there is to do for a kiosk", (Visited,)),
)
