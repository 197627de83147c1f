"""Small archives in the layouts that the public sets are published in."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import cv2
import numpy as np

VOC = (
    "<annotation><object><name>RBC</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax>"
    "<ymax>21</ymax></bndbox></object></annotation>"
)
REPORT = (
    "Test,Result/Units,Norm. Range\nRBC,4.37 x10.e 6/ul,3.8 --- 4.8\nHGB,* 10.1 g/dL,12 --- 15\n"
)


def jpeg(seed: int, width: int = 64, height: int = 48) -> bytes:
    """A picture like no other, as a file."""
    coarse = np.random.default_rng(seed).integers(30, 240, (7, 7, 3)).astype(np.float32)
    smooth = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return cv2.imencode(".jpg", np.clip(smooth, 0, 255).astype(np.uint8))[1].tobytes()


def packed(files: Mapping[str, bytes | str]) -> bytes:
    """A zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def published() -> dict[str, bytes]:
    """An archive for every entry of the registry, by its name in a mirror."""
    bccd: dict[str, bytes | str] = {"BCCD_Dataset-135df02/LICENSE": "MIT"}
    for n in range(3):
        bccd[f"BCCD_Dataset-135df02/BCCD/JPEGImages/BloodImage_0000{n}.jpg"] = jpeg(n)
        bccd[f"BCCD_Dataset-135df02/BCCD/Annotations/BloodImage_0000{n}.xml"] = VOC
    bccd["BCCD_Dataset-135df02/BCCD/ImageSets/Main/train.txt"] = "BloodImage_00000\n"
    chula = "Chula-RBC-12-Dataset-fa130f4"
    anerbc = "AneRBC dataset/AneRBC_dataset/AneRBC-I"
    inner = packed(
        {
            f"{anerbc}/Healthy_individuals/Original_images/001_h.png": jpeg(30),
            f"{anerbc}/Healthy_individuals/CBC_reports/001_h.txt": REPORT,
            f"{anerbc}/Anemic_individuals/Original_images/001_a.png": jpeg(31),
            "AneRBC dataset/AneRBC_dataset/AneRBC-II/x.png": jpeg(32),
        }
    )
    return {
        "bccd.zip": packed(bccd),
        "chula_rbc12.zip": packed(
            {
                f"{chula}/Dataset/1.jpg": jpeg(10),
                f"{chula}/Dataset/2.jpg": jpeg(11),
                f"{chula}/Label/1.txt": "10 12 0\n30 31 4\n",
                f"{chula}/RBC Diseases/HE/sampleA0001.JPG": jpeg(12),
                f"{chula}/RBC Diseases/HS/1.JPG": jpeg(13),
                f"{chula}/RBC Diseases/Iron deficiency anemia/Iron deficiency anemia_1.JPG": jpeg(
                    14
                ),
                f"{chula}/RBC Diseases/Megaloblastic anemia/Megaloblastic anemia_1.JPG": jpeg(15),
                f"{chula}/RBC Diseases/Thalassemia/Thalassemia_1.JPG": jpeg(16),
            }
        ),
        "pbc.zip": packed(
            {
                "PBC_dataset_normal_DIB/basophil/BA_100102.jpg": jpeg(20),
                "PBC_dataset_normal_DIB/eosinophil/EO_1.jpg": jpeg(21),
                "PBC_dataset_normal_DIB/ig/MMY_115214.jpg": jpeg(22),
                "PBC_dataset_normal_DIB/platelet/PLATELET_1.jpg": jpeg(23),
                "PBC_dataset_normal_DIB/basophil/.DS_169665.jpg": jpeg(24),
                "__MACOSX/PBC_dataset_normal_DIB/basophil/._BA_100102.jpg": b"x",
            }
        ),
        "txl_pbc.zip": packed(
            {
                "TXL-PBC_Dataset-bcafb7a/TXL_PBC/images/train/a-1.jpg": jpeg(25, 575, 575),
                "TXL-PBC_Dataset-bcafb7a/TXL_PBC/labels/train/a-1.txt": "0 .5 .5 .2 .2\n",
                "TXL-PBC_Dataset-bcafb7a/TXL_PBC/images/val/b-1.jpg": jpeg(26, 360, 360),
                "TXL-PBC_Dataset-bcafb7a/TXL_PBC/labels/val/b-1.txt": "1 .5 .5 .2 .2\n",
            }
        ),
        "redtell.zip": packed(
            {
                "dse_data/images/1.tif": jpeg(27),
                "dse_data/annotations/1.tif": jpeg(28),
                "dse_data/coco_annotations/1_Discocyte_0.tif": jpeg(29),
            }
        ),
        # Its host packs the one file that was published once more.
        "anerbc.zip": packed({"AneRBC dataset/AneRBC_dataset.zip": inner}),
        "uganda_phone.zip": packed(
            {
                "Negative/Clear/1.jpg": jpeg(33),
                "Positive/Unlabelled/1.jpg": jpeg(34),
                "Positive/Labelled/1.jpg": jpeg(35),
            }
        ),
        "lmu.zip": packed(
            {
                "AML-Cytomorphology_LMU/AML-Cytomorphology/MYO/MYO_0001.tiff": jpeg(36),
                "AML-Cytomorphology_LMU/AML-Cytomorphology/NGS/NGS_0001.tiff": jpeg(37),
                "AML-Cytomorphology_LMU/AML-Cytomorphology/LYT/LYT_0001.tiff": jpeg(38),
                "AML-Cytomorphology_LMU/annotations.dat": "MYO/MYO_0001.tiff MYO MOB nan\n",
            }
        ),
    }


# Pictures that the readers find in what comes of each archive, by set.
PICTURES = {
    "bccd": 3,
    "chula_rbc12": 2,
    "chula_disease": 5,
    "pbc": 4,
    "txl_pbc": 2,
    "redtell": 1,
    "anerbc": 2,
    "uganda_phone": 2,
    "lmu": 3,
}
