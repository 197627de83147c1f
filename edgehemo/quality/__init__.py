"""Can this field be trusted? Named checks with value, limit, verdict and what to do.

Called, `edgehemo.quality(picture)`, it is the function of `edgehemo.api`.
"""

from edgehemo.calling import make_callable
from edgehemo.quality.artefacts import artefact_mask
from edgehemo.quality.check import Check, QualityReport, Verdict
from edgehemo.quality.field_quality import check_field

__all__ = ["Check", "QualityReport", "Verdict", "artefact_mask", "check_field"]

make_callable(__name__)
