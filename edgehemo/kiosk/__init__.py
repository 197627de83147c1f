"""The kiosk: a health worker screens a patient by touch, unaided.

Without I/O, from the ground up:

- ``screens``: every screen, who may see it, where its *Back* leads.
- ``faults``: what stops the work.
- ``state``: all that the kiosk knows of what it is doing, as one record that is stored.
- ``events``: what people and the device tell it. ``effects``: what it has the device do.
- ``flow``: state and event give the next state. ``deadlines``: what happens when nothing does.
- ``viewers``: who looks at the page, and who of them steers.
"""
