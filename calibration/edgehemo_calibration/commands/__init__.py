"""`edgehemo calibrate`: its commands."""
