"""The laboratory's side: what hundreds of kiosks report to.

From the ground up; a room imports only rooms named before it:

- ``errors``, ``clock``: what can go wrong, and the one clock that counts here: the receiver's.
- ``storage``: one small interface and its engines, PostgreSQL and SQLite, with their migrations.
- ``chain``: everything that was done, each entry holding the hash of the one before.
- ``people``: who may do what here.
- ``enrolment``: pairing codes, certificates, kiosks.
- ``pictures``: content-addressed, in a folder or S3.
- ``archive``: fields by the digest of their bytes, read again on many machines.
- ``intake``: a batch comes in, a receipt goes out.
- ``server``: HTTPS; ``simulated``: kiosks to try it with; ``commands``: `edgehemo laboratory` and
  `edgehemo archive`.
"""
