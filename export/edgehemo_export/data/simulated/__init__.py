"""The simulated microscope as training data: fields, tiles, whole samples."""
