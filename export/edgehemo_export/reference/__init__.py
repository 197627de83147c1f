"""Reference figures: how good edgehemo was found to be, as data.

Every figure that the README or the documentation states stands in one of the TOML files beside
this module, with the command that measures it, the machine, the date and how far a repeat may lie
from it. ``models.toml`` holds what stands in the records of the shipped checkpoints and is written
from them (``python -m edgehemo_export.reference``); ``measured.toml`` holds what the benchmarks
and studies printed.
"""
