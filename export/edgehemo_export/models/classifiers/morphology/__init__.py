"""Red-cell morphology."""
