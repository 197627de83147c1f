-- What is published for kiosks: bundles, languages, settings; who is to have it, and what became
-- of it there.

CREATE TABLE publication (
  number INTEGER PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,      -- of the file, by which kiosks know it
  kind TEXT NOT NULL CHECK (kind IN ('bundle', 'language', 'settings')),
  name TEXT NOT NULL,
  serial INTEGER NOT NULL,
  digest TEXT NOT NULL,             -- of its manifest, which results name of a bundle
  signed_by TEXT NOT NULL,
  key TEXT NOT NULL,                  -- identifier; empty of the bundle that comes with edgehemo
  size INTEGER NOT NULL,
  expected TEXT NOT NULL,             -- JSON: what its test slide gives; empty of others
  stages TEXT NOT NULL,               -- JSON
  limits TEXT NOT NULL,               -- JSON: what halts it
  sites TEXT NOT NULL,                -- JSON: names; none for all
  kiosks TEXT NOT NULL,               -- JSON: likewise
  back_to INTEGER REFERENCES publication (number),  -- whose content it holds again
  made_at TEXT NOT NULL,
  made_at_s INTEGER NOT NULL,
  by_whom TEXT NOT NULL,
  UNIQUE (kind, name, serial)
) STRICT;

CREATE TABLE publication_part (
  -- The file's bytes, in pieces; there before the publication is.
  sha256 TEXT NOT NULL,
  position INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (sha256, position)
) STRICT;

CREATE TABLE publication_standing (
  publication INTEGER PRIMARY KEY REFERENCES publication (number),
  state TEXT NOT NULL CHECK (state IN ('staged', 'halted')),
  stage INTEGER NOT NULL,             -- from 0
  since_s INTEGER NOT NULL,             -- when the stage began
  counted_from_s INTEGER NOT NULL,      -- what was found before does not halt it again
  why TEXT NOT NULL DEFAULT '',       -- it is halted
  by_itself INTEGER NOT NULL CHECK (by_itself IN (0, 1))  -- stages follow without a person
) STRICT;

CREATE TABLE publication_kiosk (
  -- Kiosks in its stages: whoever came in stays in. standing: as the kiosk said last.
  publication INTEGER NOT NULL REFERENCES publication (number),
  kiosk INTEGER NOT NULL REFERENCES kiosk (number),
  stage INTEGER NOT NULL,
  chosen_at_s INTEGER NOT NULL,
  offered_at_s INTEGER,
  standing TEXT NOT NULL DEFAULT '',
  words TEXT NOT NULL DEFAULT '',
  standing_at_s INTEGER,
  used_at_s INTEGER,                    -- when it first said that it uses it
  PRIMARY KEY (publication, kiosk)
) STRICT;
CREATE INDEX publication_kiosk_by_kiosk ON publication_kiosk (kiosk, publication);

CREATE TABLE running (
  kiosk INTEGER PRIMARY KEY REFERENCES kiosk (number),
  body TEXT NOT NULL,                 -- JSON: what it said last
  at_s INTEGER NOT NULL,
  brought_by TEXT NOT NULL DEFAULT '' -- who brought it on a stick
) STRICT;

CREATE TABLE finding (
  -- What halted a publication, or would have.
  publication INTEGER NOT NULL REFERENCES publication (number),
  at_s INTEGER NOT NULL,
  kind TEXT NOT NULL,
  words TEXT NOT NULL,
  value REAL,
  low REAL,
  high REAL,
  of_limit REAL,
  PRIMARY KEY (publication, at_s, kind)
) STRICT;

CREATE TRIGGER publication_stays_on_update BEFORE UPDATE ON publication
BEGIN SELECT RAISE(ABORT, 'what was published is never changed and never deleted'); END;
CREATE TRIGGER publication_stays_on_delete BEFORE DELETE ON publication
BEGIN SELECT RAISE(ABORT, 'what was published is never changed and never deleted'); END;
CREATE TRIGGER publication_part_stays_on_update BEFORE UPDATE ON publication_part
BEGIN SELECT RAISE(ABORT, 'what was published is never changed and never deleted'); END;
CREATE TRIGGER publication_part_stays_on_delete BEFORE DELETE ON publication_part
BEGIN SELECT RAISE(ABORT, 'what was published is never changed and never deleted'); END;
CREATE TRIGGER finding_stays_on_update BEFORE UPDATE ON finding
BEGIN SELECT RAISE(ABORT, 'what was published is never changed and never deleted'); END;
CREATE TRIGGER finding_stays_on_delete BEFORE DELETE ON finding
BEGIN SELECT RAISE(ABORT, 'what was published is never changed and never deleted'); END;
