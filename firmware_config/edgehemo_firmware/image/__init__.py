"""Images: a Debian root with the kiosk installed, as a folder and as a disk that boots."""
