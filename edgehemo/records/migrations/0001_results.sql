-- The store, its chain, contents, results with their versions, and the sample being taken.
-- What was measured is inserted once: triggers refuse every UPDATE and DELETE of it.

CREATE TABLE store (
  -- What this store is; one row.
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  created_at TEXT NOT NULL,
  drawn INTEGER NOT NULL DEFAULT 0  -- sample numbers drawn by the device so far
) STRICT;

CREATE TABLE audit (
  number INTEGER PRIMARY KEY CHECK (number > 0),
  at TEXT NOT NULL,       -- what the clock said
  actor TEXT NOT NULL,    -- who did it
  action TEXT NOT NULL,   -- what was done
  subject TEXT NOT NULL,  -- what it was done to; empty where to the store
  details TEXT NOT NULL,  -- JSON; never anything of a patient
  before TEXT NOT NULL,   -- hash of the entry before; zeros before the first
  hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_in_order BEFORE INSERT ON audit
WHEN NEW.number != 1 + (SELECT coalesce(max(number), 0) FROM audit)
  OR NEW.before != coalesce(
    (SELECT hash FROM audit ORDER BY number DESC LIMIT 1),
    '0000000000000000000000000000000000000000000000000000000000000000')
BEGIN SELECT RAISE(ABORT, 'an audit entry follows the last one'); END;
CREATE TRIGGER audit_stays BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted'); END;
CREATE INDEX audit_by_subject ON audit (subject, number);
CREATE INDEX audit_by_action ON audit (action, number);

CREATE TABLE content (
  -- A file under contents/, called by the SHA-256 of what is in it.
  sha256 TEXT PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('picture', 'reading', 'bundle', 'profile')),
  bytes INTEGER NOT NULL,
  purged_at TEXT  -- when the file was deleted by the retention policy
) STRICT, WITHOUT ROWID;
CREATE TRIGGER content_stays BEFORE UPDATE OF sha256, kind, bytes ON content
BEGIN SELECT RAISE(ABORT, 'contents are never changed'); END;
CREATE TRIGGER content_is_kept BEFORE DELETE ON content
WHEN EXISTS (SELECT 1 FROM result_field WHERE sha256 = OLD.sha256)
  OR EXISTS (SELECT 1 FROM result WHERE reading_sha256 = OLD.sha256)
  OR EXISTS (SELECT 1 FROM artefact WHERE content_sha256 = OLD.sha256)
BEGIN SELECT RAISE(ABORT, 'contents that a result stands on are never deleted'); END;

CREATE TABLE intended (
  -- Contents being written: what a power cut leaves of them is removed at the next opening.
  sha256 TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE artefact (
  -- Bundles and profiles that results stand on, by the digest that results name.
  kind TEXT NOT NULL CHECK (kind IN ('bundle', 'profile')),
  digest TEXT NOT NULL,
  name TEXT NOT NULL,
  content_sha256 TEXT NOT NULL REFERENCES content (sha256),
  PRIMARY KEY (kind, digest)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER artefact_stays BEFORE UPDATE ON artefact
BEGIN SELECT RAISE(ABORT, 'artefacts are never changed'); END;
CREATE TRIGGER artefact_is_kept BEFORE DELETE ON artefact
BEGIN SELECT RAISE(ABORT, 'artefacts are never deleted'); END;

CREATE TABLE result (
  number INTEGER PRIMARY KEY CHECK (number > 0),
  id TEXT NOT NULL UNIQUE,
  sample TEXT NOT NULL,
  sample_from TEXT NOT NULL CHECK (sample_from IN ('typed', 'scanned', 'drawn')),
  site TEXT,
  operator TEXT,
  device TEXT NOT NULL,
  made_at TEXT NOT NULL,           -- what the clock said, with its zone
  made_at_s INTEGER NOT NULL,      -- the same as seconds since 1970
  clock TEXT NOT NULL CHECK (clock IN ('set', 'unset')),
  simulated INTEGER NOT NULL CHECK (simulated IN (0, 1)),
  outcome TEXT NOT NULL CHECK (outcome IN ('reported', 'withheld')),
  hgb_g_per_l REAL,
  grade TEXT,
  accepted INTEGER NOT NULL,
  examined INTEGER NOT NULL,
  person TEXT,                     -- JSON, as given for the grade; NULL where not given
  circumstances TEXT NOT NULL,     -- JSON: all else that the numbers hang on
  bundle_sha256 TEXT NOT NULL,
  profile_sha256 TEXT,
  profile_made_at TEXT,            -- which profile, whatever was added to it later
  software_version TEXT NOT NULL,
  reading_sha256 TEXT NOT NULL REFERENCES content (sha256),
  audit INTEGER NOT NULL REFERENCES audit (number)
) STRICT;
CREATE INDEX result_by_time ON result (made_at_s);
CREATE INDEX result_by_profile ON result (profile_made_at, audit);
CREATE TRIGGER result_stays BEFORE UPDATE ON result
BEGIN SELECT RAISE(ABORT, 'results are never changed; a correction is a new version'); END;
CREATE TRIGGER result_is_kept BEFORE DELETE ON result
BEGIN SELECT RAISE(ABORT, 'results are never deleted'); END;

CREATE TABLE result_field (
  result INTEGER NOT NULL REFERENCES result (number),
  position INTEGER NOT NULL CHECK (position >= 0),
  source TEXT NOT NULL,      -- what the result calls the field
  sha256 TEXT REFERENCES content (sha256),  -- NULL where there was nothing to be read
  form TEXT CHECK (form IN ('file', 'pixels')),
  page INTEGER NOT NULL DEFAULT 0,          -- which field of the file
  taken_at TEXT,
  metadata TEXT NOT NULL,    -- JSON, what the camera told
  error TEXT,                -- why there was nothing
  PRIMARY KEY (result, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX result_field_by_content ON result_field (sha256);
CREATE TRIGGER result_field_stays BEFORE UPDATE ON result_field
BEGIN SELECT RAISE(ABORT, 'results are never changed'); END;
CREATE TRIGGER result_field_is_kept BEFORE DELETE ON result_field
BEGIN SELECT RAISE(ABORT, 'results are never deleted'); END;

CREATE TABLE version (
  result INTEGER NOT NULL REFERENCES result (number),
  version INTEGER NOT NULL CHECK (version > 0),
  state TEXT NOT NULL CHECK (state IN ('unsigned', 'signed', 'corrected', 'held', 'withdrawn')),
  change TEXT NOT NULL CHECK (
    change IN ('recorded', 'signed', 'corrected', 'held', 'released', 'withdrawn')),
  sample TEXT NOT NULL,      -- its number in this version
  amendments TEXT NOT NULL,  -- JSON: all that a person set in the place of what was measured
  by TEXT NOT NULL,
  at TEXT NOT NULL,
  clock TEXT NOT NULL CHECK (clock IN ('set', 'unset')),
  reason TEXT NOT NULL,
  audit INTEGER NOT NULL REFERENCES audit (number),
  PRIMARY KEY (result, version)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER version_in_order BEFORE INSERT ON version
WHEN NEW.version != 1 + (
  SELECT coalesce(max(version), 0) FROM version WHERE result = NEW.result)
BEGIN SELECT RAISE(ABORT, 'a version follows the last one'); END;
CREATE TRIGGER version_stays BEFORE UPDATE ON version
BEGIN SELECT RAISE(ABORT, 'versions are never changed'); END;
CREATE TRIGGER version_is_kept BEFORE DELETE ON version
BEGIN SELECT RAISE(ABORT, 'versions are never deleted'); END;

CREATE TABLE latest (
  -- Which version of each result counts; follows `version` by a trigger, for lists.
  result INTEGER PRIMARY KEY REFERENCES result (number),
  version INTEGER NOT NULL,
  state TEXT NOT NULL,
  sample TEXT NOT NULL
) STRICT;
CREATE INDEX latest_by_state ON latest (state, result);
CREATE INDEX latest_by_sample ON latest (sample, result);
CREATE TRIGGER version_is_latest AFTER INSERT ON version
BEGIN
  INSERT OR REPLACE INTO latest VALUES (
    NEW.result, NEW.version, NEW.state, NEW.sample);
END;

CREATE TABLE taking (
  -- A sample being taken: it survives a power cut, and is gone once it is a result or abandoned.
  id TEXT PRIMARY KEY,  -- becomes the result's
  owner TEXT NOT NULL CHECK (owner IN ('command', 'kiosk')),
  sample TEXT NOT NULL,
  sample_from TEXT NOT NULL,
  site TEXT,
  operator TEXT,
  person TEXT,
  circumstances TEXT NOT NULL,
  started_at TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT '{}'  -- JSON, the kiosk's own snapshot
) STRICT, WITHOUT ROWID;

CREATE TABLE taking_field (
  taking TEXT NOT NULL REFERENCES taking (id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  source TEXT NOT NULL,
  sha256 TEXT REFERENCES content (sha256),
  form TEXT,
  page INTEGER NOT NULL,
  taken_at TEXT,
  metadata TEXT NOT NULL,
  error TEXT,
  reading BLOB,  -- what was read of it, as a screening that goes on needs it
  PRIMARY KEY (taking, position)
) STRICT, WITHOUT ROWID;
