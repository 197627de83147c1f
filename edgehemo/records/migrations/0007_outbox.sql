-- What is to be sent to whom: one row a version of a result and receiver, made in the transaction
-- that makes the version. What a message says is frozen when it is made, and sent as it is for ever.

CREATE TABLE outbox (
  number INTEGER PRIMARY KEY,
  receiver TEXT NOT NULL,        -- its name in the device configuration
  sequence INTEGER NOT NULL CHECK (sequence > 0),  -- counts what is noted for this receiver
  result INTEGER NOT NULL,
  version INTEGER NOT NULL,
  noted_at TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'noted' CHECK (
    state IN ('noted', 'pending', 'retrying', 'delivered', 'refused')),
  format TEXT,                   -- of the message; NULL until it is made
  identity TEXT,                 -- of the message: follows from what it says
  sha256 TEXT,                   -- of the message's bytes
  bytes INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,   -- since it was noted, or since a person asked again
  next_at_s REAL NOT NULL DEFAULT 0,     -- not before, in seconds since 1970
  tried_at TEXT,
  settled_at TEXT,               -- when it was delivered or refused
  settled_at_s INTEGER,          -- the same as seconds since 1970
  code TEXT,                     -- what is wrong; NULL where nothing is
  said TEXT NOT NULL DEFAULT '', -- the receiver's own words
  UNIQUE (receiver, result, version),
  UNIQUE (receiver, sequence),
  FOREIGN KEY (result, version) REFERENCES version (result, version),
  CHECK ((identity IS NULL) = (sha256 IS NULL)),
  CHECK (state NOT IN ('pending', 'retrying', 'delivered') OR identity IS NOT NULL)
) STRICT;
CREATE INDEX outbox_open ON outbox (receiver, sequence)
WHERE state IN ('noted', 'pending', 'retrying');
CREATE INDEX outbox_by_result ON outbox (result, version);
CREATE INDEX outbox_by_state ON outbox (state, receiver, number);
CREATE TRIGGER outbox_message_stays BEFORE UPDATE OF
  receiver, sequence, result, version, noted_at, format, identity, sha256, bytes ON outbox
WHEN NEW.receiver IS NOT OLD.receiver OR NEW.sequence IS NOT OLD.sequence
  OR NEW.result IS NOT OLD.result OR NEW.version IS NOT OLD.version
  OR NEW.noted_at IS NOT OLD.noted_at
  OR (OLD.identity IS NOT NULL AND (NEW.format IS NOT OLD.format
    OR NEW.identity IS NOT OLD.identity OR NEW.sha256 IS NOT OLD.sha256
    OR NEW.bytes IS NOT OLD.bytes))
BEGIN SELECT RAISE(ABORT, 'what is sent is never changed'); END;
CREATE TRIGGER outbox_delivered_stays BEFORE UPDATE OF state ON outbox
WHEN OLD.state = 'delivered' AND NEW.state != 'delivered'
BEGIN SELECT RAISE(ABORT, 'what was received stays received'); END;
CREATE TRIGGER outbox_is_kept BEFORE DELETE ON outbox
BEGIN SELECT RAISE(ABORT, 'what was noted for a receiver is never deleted'); END;

CREATE TABLE outbox_message (
  -- The messages, compressed, apart from their rows. Goes some time after it was delivered.
  number INTEGER PRIMARY KEY REFERENCES outbox (number),
  body BLOB NOT NULL
) STRICT;
CREATE TRIGGER outbox_message_is_frozen BEFORE UPDATE ON outbox_message
BEGIN SELECT RAISE(ABORT, 'what is sent is never changed'); END;
CREATE TRIGGER outbox_message_is_kept BEFORE DELETE ON outbox_message
WHEN (SELECT state FROM outbox WHERE number = OLD.number) != 'delivered'
BEGIN SELECT RAISE(ABORT, 'a message is kept until it was delivered'); END;
