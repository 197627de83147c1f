"""Results leave for other systems: the outbox, and those who receive from it.

From the ground up:

- ``message``, ``formats``: what is sent, and the table of formats with their encoders.
- ``lab_result``, ``fhir``, ``hl7``: a version as laboratories know results, and its encoders; pure.
- ``exports``: the same as files, in the table of export formats.
- ``states``, ``turns``: what becomes of a message, and which is next; pure.
- ``outbox``: the rows. Made by a hook in the transaction of a version, see `outbox.noting`.
- ``laboratory``: what a kiosk and its laboratory say to each other.
- ``receivers/``: a file a kind of receiver.
- ``sending``: the threads that send, beside the kiosk or alone.
- ``health``: what a broker is told of this device; no result.
"""
