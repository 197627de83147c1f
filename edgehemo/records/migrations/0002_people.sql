-- Who works here, what they said of single cells, analyser values beside our own, settings.

CREATE TABLE user (
  name TEXT PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('operator', 'supervisor', 'engineer')),
  pin TEXT NOT NULL,                   -- Argon2 hash
  made_at TEXT NOT NULL,
  wrong INTEGER NOT NULL DEFAULT 0,    -- wrong PINs since the last right one
  wrong_at_s INTEGER,                  -- when the last of them came
  removed_at TEXT
) STRICT, WITHOUT ROWID;
CREATE TRIGGER user_is_kept BEFORE DELETE ON user
BEGIN SELECT RAISE(ABORT, 'users are removed, never deleted: results bear their names'); END;

CREATE TABLE review (
  -- What a person said of one cell; one row each time, so that the cells can teach.
  number INTEGER PRIMARY KEY,
  result INTEGER NOT NULL REFERENCES result (number),
  field INTEGER NOT NULL,        -- position of the image, from 0
  cell INTEGER NOT NULL,         -- position of the cell in the reading, from 0
  kind TEXT NOT NULL,            -- as it was found: rbc, wbc, platelet
  model_type TEXT,               -- what the model called it
  model_score REAL,
  verdict TEXT NOT NULL CHECK (verdict IN ('confirmed', 'renamed', 'unsure', 'not a cell')),
  type TEXT,                     -- what the person calls it
  by TEXT NOT NULL,
  at TEXT NOT NULL,
  audit INTEGER NOT NULL REFERENCES audit (number)
) STRICT;
CREATE INDEX review_by_result ON review (result, field, cell, number);
CREATE TRIGGER review_stays BEFORE UPDATE ON review
BEGIN SELECT RAISE(ABORT, 'reviews are never changed; a later one counts'); END;
CREATE TRIGGER review_is_kept BEFORE DELETE ON review
BEGIN SELECT RAISE(ABORT, 'reviews are never deleted'); END;

CREATE TABLE paired (
  -- What an analyser measured of a sample; of one quantity the newest row counts.
  number INTEGER PRIMARY KEY,
  sample TEXT NOT NULL,
  measurand TEXT NOT NULL,
  value REAL NOT NULL,
  analyser TEXT NOT NULL,
  by TEXT NOT NULL,
  at TEXT NOT NULL,
  audit INTEGER NOT NULL REFERENCES audit (number)
) STRICT;
CREATE INDEX paired_by_sample ON paired (sample, measurand, number);
CREATE TRIGGER paired_stays BEFORE UPDATE ON paired
BEGIN SELECT RAISE(ABORT, 'paired values are never changed; a later one counts'); END;
CREATE TRIGGER paired_is_kept BEFORE DELETE ON paired
BEGIN SELECT RAISE(ABORT, 'paired values are never deleted'); END;

CREATE TABLE setting (
  -- Settings made on the device; of one name the newest row counts.
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  value TEXT NOT NULL,           -- JSON
  by TEXT NOT NULL,
  at TEXT NOT NULL,
  audit INTEGER NOT NULL REFERENCES audit (number)
) STRICT;
CREATE INDEX setting_by_name ON setting (name, number);
CREATE TRIGGER setting_stays BEFORE UPDATE ON setting
BEGIN SELECT RAISE(ABORT, 'settings are never changed; a later one counts'); END;
CREATE TRIGGER setting_is_kept BEFORE DELETE ON setting
BEGIN SELECT RAISE(ABORT, 'settings are never deleted'); END;
