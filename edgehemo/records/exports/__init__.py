"""How stored results leave the device: a file a format, one table of them all."""
