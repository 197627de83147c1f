"""The workstation's part: trains, evaluates, quantises and bundles the models edgehemo runs."""

from edgehemo.inference.runtimes import silence_runtimes

# Before any tool is imported that imports a runtime: they would report to their makers.
silence_runtimes()
