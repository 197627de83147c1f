"""The cell classifiers: nucleated cells and red-cell morphology."""
