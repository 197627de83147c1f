"""This device: its configuration, equipment, readiness and faults."""
