-- What leaves the device without names is called by keyed pseudonyms: the same sample the same way
-- each time, and nobody without the key can tell which it is.

CREATE TABLE pseudonym_key (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  key TEXT NOT NULL
) STRICT;
INSERT INTO pseudonym_key VALUES (1, lower(hex(randomblob(32))));
CREATE TRIGGER pseudonym_key_stays BEFORE UPDATE ON pseudonym_key
BEGIN SELECT RAISE(ABORT, 'the key of the pseudonyms is never changed'); END;
CREATE TRIGGER pseudonym_key_is_kept BEFORE DELETE ON pseudonym_key
BEGIN SELECT RAISE(ABORT, 'the key of the pseudonyms is never deleted'); END;
