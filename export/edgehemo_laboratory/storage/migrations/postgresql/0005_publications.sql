-- What is published for kiosks: bundles, languages, settings; who is to have it, and what became
-- of it there.

CREATE TABLE publication (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  sha256 TEXT COLLATE "C" NOT NULL UNIQUE,      -- of the file, by which kiosks know it
  kind TEXT NOT NULL CHECK (kind IN ('bundle', 'language', 'settings')),
  name TEXT COLLATE "C" NOT NULL,
  serial BIGINT NOT NULL,
  digest TEXT COLLATE "C" NOT NULL,             -- of its manifest, which results name of a bundle
  signed_by TEXT NOT NULL,
  key TEXT NOT NULL,                  -- identifier; empty of the bundle that comes with edgehemo
  size BIGINT NOT NULL,
  expected TEXT NOT NULL,             -- JSON: what its test slide gives; empty of others
  stages TEXT NOT NULL,               -- JSON
  limits TEXT NOT NULL,               -- JSON: what halts it
  sites TEXT NOT NULL,                -- JSON: names; none for all
  kiosks TEXT NOT NULL,               -- JSON: likewise
  back_to BIGINT REFERENCES publication (number),  -- whose content it holds again
  made_at TEXT NOT NULL,
  made_at_s BIGINT NOT NULL,
  by_whom TEXT NOT NULL,
  UNIQUE (kind, name, serial)
);

CREATE TABLE publication_part (
  -- The file's bytes, in pieces; there before the publication is.
  sha256 TEXT COLLATE "C" NOT NULL,
  position BIGINT NOT NULL,
  body BYTEA NOT NULL,
  PRIMARY KEY (sha256, position)
);

CREATE TABLE publication_standing (
  publication BIGINT PRIMARY KEY REFERENCES publication (number),
  state TEXT NOT NULL CHECK (state IN ('staged', 'halted')),
  stage INTEGER NOT NULL,             -- from 0
  since_s BIGINT NOT NULL,             -- when the stage began
  counted_from_s BIGINT NOT NULL,      -- what was found before does not halt it again
  why TEXT NOT NULL DEFAULT '',       -- it is halted
  by_itself INTEGER NOT NULL CHECK (by_itself IN (0, 1))  -- stages follow without a person
);

CREATE TABLE publication_kiosk (
  -- Kiosks in its stages: whoever came in stays in. standing: as the kiosk said last.
  publication BIGINT NOT NULL REFERENCES publication (number),
  kiosk BIGINT NOT NULL REFERENCES kiosk (number),
  stage INTEGER NOT NULL,
  chosen_at_s BIGINT NOT NULL,
  offered_at_s BIGINT,
  standing TEXT NOT NULL DEFAULT '',
  words TEXT NOT NULL DEFAULT '',
  standing_at_s BIGINT,
  used_at_s BIGINT,                    -- when it first said that it uses it
  PRIMARY KEY (publication, kiosk)
);
CREATE INDEX publication_kiosk_by_kiosk ON publication_kiosk (kiosk, publication);

CREATE TABLE running (
  kiosk BIGINT PRIMARY KEY REFERENCES kiosk (number),
  body TEXT NOT NULL,                 -- JSON: what it said last
  at_s BIGINT NOT NULL,
  brought_by TEXT NOT NULL DEFAULT '' -- who brought it on a stick
);

CREATE TABLE finding (
  -- What halted a publication, or would have.
  publication BIGINT NOT NULL REFERENCES publication (number),
  at_s BIGINT NOT NULL,
  kind TEXT COLLATE "C" NOT NULL,
  words TEXT NOT NULL,
  value DOUBLE PRECISION,
  low DOUBLE PRECISION,
  high DOUBLE PRECISION,
  of_limit DOUBLE PRECISION,
  PRIMARY KEY (publication, at_s, kind)
);

CREATE TRIGGER publication_stays BEFORE UPDATE OR DELETE ON publication
FOR EACH ROW EXECUTE FUNCTION stays();
CREATE TRIGGER publication_part_stays BEFORE UPDATE OR DELETE ON publication_part
FOR EACH ROW EXECUTE FUNCTION stays();
CREATE TRIGGER finding_stays BEFORE UPDATE OR DELETE ON finding
FOR EACH ROW EXECUTE FUNCTION stays();
