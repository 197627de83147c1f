"""Hundreds of simulated kiosks at one laboratory, and all that may befall them in an hour.

``benchmarks/laboratory_intake.py`` runs it.
"""
