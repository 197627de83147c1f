"""The acceptance of a device: what only the real board, camera and slide can show, in an hour."""
