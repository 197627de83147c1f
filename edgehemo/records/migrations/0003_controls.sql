-- The history of the control slides: one truth, one backup, one chain.

CREATE TABLE control (
  number INTEGER PRIMARY KEY,
  profile_made_at TEXT NOT NULL,  -- which profile, whatever was added to it later
  kind TEXT NOT NULL CHECK (kind IN ('check', 'clear')),
  slide TEXT,                     -- of a check
  passed INTEGER CHECK (passed IN (0, 1)),  -- of a check
  at TEXT NOT NULL,
  content TEXT NOT NULL,          -- JSON of the schema edgehemo.control/1
  audit INTEGER NOT NULL REFERENCES audit (number)
) STRICT;
CREATE INDEX control_by_profile ON control (profile_made_at, number);
CREATE INDEX control_by_outcome ON control (profile_made_at, kind, passed, slide, audit);
CREATE TRIGGER control_stays BEFORE UPDATE ON control
BEGIN SELECT RAISE(ABORT, 'control checks are never changed'); END;
CREATE TRIGGER control_is_kept BEFORE DELETE ON control
BEGIN SELECT RAISE(ABORT, 'control checks are never deleted'); END;

CREATE TABLE control_taken_in (
  -- Histories that lay in files beside their profiles and were taken in.
  profile_made_at TEXT PRIMARY KEY,
  sha256 TEXT NOT NULL,           -- of the file
  records INTEGER NOT NULL,
  audit INTEGER NOT NULL REFERENCES audit (number)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER control_taken_in_stays BEFORE UPDATE ON control_taken_in
BEGIN SELECT RAISE(ABORT, 'a history is taken in once'); END;
CREATE TRIGGER control_taken_in_is_kept BEFORE DELETE ON control_taken_in
BEGIN SELECT RAISE(ABORT, 'a history is taken in once'); END;
