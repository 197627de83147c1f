"""The records: what was measured is never lost, never changed, and can be computed again.

A file a duty, from the ground up:

- ``schema``, ``migrations/``: the tables, by numbered SQL files, forward only.
- ``audit``: the chain. ``contents``, ``pictures``: files called by what is in them.
- ``store``: `edgehemo.records.store.Writer`, one at a time, and `Reader`, any number.
- ``taking``: a sample being taken. ``recording``: from its fields to a result.
- ``results``: found and listed; ``search``: by what they say now. ``versions``: changed.
  ``replay``: computed again.
- ``reviews``, ``pairs``, ``settings``, ``users``, ``pins``, ``controls``: what people add.
- ``exports/``, ``deidentified``, ``backup``, ``retention``, ``policy``: what leaves, and what goes.
- ``verifying``: whether all of it holds together.

Whoever makes a row of its own with a version (an outbox) gives `edgehemo.records.versions.change` a
hook, which is called inside the transaction. A table more is a migration more.
"""
