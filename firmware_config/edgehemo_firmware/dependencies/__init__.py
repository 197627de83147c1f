"""What ships to devices beside our own code: locked, audited, listed with its licences.

Run on the workstation by ``make lock``, ``make audit``, ``make sbom`` and ``make newest``. A device
imports none of it.
"""
