"""A cell finder small enough to train in a test."""

from __future__ import annotations

from edgehemo_export.models.finder.training import FinderTrainingConfig, read_config
from edgehemo_export.nets.architectures import CellFinderConfig

TINY = CellFinderConfig(stride4=16, stride8=16, stride16=16, head=16, blocks=1)


def tiny_config(**loop: int) -> FinderTrainingConfig:
    return read_config(
        changes={
            "loop": {"batch_size": 4, "warmup_steps": 2, **loop},
            "source_shares": {
                "bccd": 0.0,
                "txl_pbc": 0.0,
                "txl_raabin": 0.0,
                "chula_rbc12": 0.0,
                "simulated": 1.0,
            },
            "model": TINY.model_dump(),
            "crop": {"side_px": 96},
        }
    )
