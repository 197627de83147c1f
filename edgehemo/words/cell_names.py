"""What cells are called, in the page's language."""

from __future__ import annotations

from edgehemo.words.language import Words


def cell_name(words: Words, type: str) -> str:
    """The name of a type; of one that another bundle brings, as the bundle writes it."""
    _ = words._
    known = {
        "neutrophil": _("Neutrophil"),
        "lymphocyte": _("Lymphocyte"),
        "monocyte": _("Monocyte"),
        "eosinophil": _("Eosinophil"),
        "basophil": _("Basophil"),
        "immature_granulocyte": _("Immature granulocyte"),
        "myeloblast": _("Blast"),
        "erythroblast": _("Erythroblast"),
        "other": _("Another white cell"),
        "platelet": _("Platelet"),
        "normal": _("Normal red cell"),
        "microcyte": _("Microcyte"),
        "macrocyte": _("Macrocyte"),
        "hypochromia": _("Pale red cell"),
        "target_cell": _("Target cell"),
        "ovalocyte": _("Ovalocyte"),
        "elliptocyte": _("Elliptocyte"),
        "teardrop": _("Teardrop cell"),
        "spherocyte": _("Spherocyte"),
        "stomatocyte": _("Stomatocyte"),
        "burr_cell": _("Burr cell"),
        "schistocyte": _("Schistocyte"),
        "sickle_cell": _("Sickle cell"),
        "uncategorised": _("Another red cell"),
        "parasite": _("Parasite"),
        "howell_jolly_body": _("Howell-Jolly body"),
        "platelet_on_cell": _("Platelet on the cell"),
        "stain_deposit": _("Stain deposit"),
        "uncertain": _("No name yet"),
        "not_a_cell": _("Not a cell"),
    }
    return known.get(type, type.replace("_", " "))
