"""The WHO grade of anaemia, for a person as described."""
