"""What a supervisor does at the kiosk: look after results, charts, people and backups.

Each of the four areas has its pages in a module of its own; what they show is worked out in the
modules beside, without I/O where that can be.
"""
