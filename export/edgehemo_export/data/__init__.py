"""Public data sets: readers, manifest, splits, canonical samples."""
