-- What kiosks send, who they are, and everything that was done. Seconds count from 1970 by the
-- receiver's clock. What the columns are, the other engine's file says too.

CREATE TABLE laboratory (
  id TEXT PRIMARY KEY,
  made_at TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
  -- The chains: one of the laboratory, one a kiosk. Each entry holds the hash of the one before.
  chain TEXT NOT NULL,
  number INTEGER NOT NULL,
  at TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  details TEXT NOT NULL,         -- JSON
  before TEXT NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (chain, number)
) STRICT;
CREATE INDEX audit_by_subject ON audit (subject, chain, number);

CREATE TABLE person (
  name TEXT PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('operator', 'supervisor', 'engineer')),
  passphrase TEXT NOT NULL,      -- Argon2 hash
  made_at TEXT NOT NULL,
  wrong INTEGER NOT NULL DEFAULT 0,
  wrong_at_s INTEGER,
  removed_at TEXT
) STRICT;

CREATE TABLE kiosk (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  site TEXT NOT NULL,
  made_at TEXT NOT NULL,
  enrolled_at TEXT,              -- when it first came with a pairing code
  revoked_at TEXT,
  revoked_why TEXT NOT NULL DEFAULT '',
  identified INTEGER NOT NULL DEFAULT 0 CHECK (identified IN (0, 1)),  -- may send names
  pictures TEXT NOT NULL DEFAULT 'asked' CHECK (pictures IN ('never', 'asked', 'all')),
  device TEXT NOT NULL DEFAULT '',            -- what it says it is called
  software_version TEXT NOT NULL DEFAULT '',  -- what it says runs there
  heard_at_s INTEGER,             -- when it was last heard
  sent_at TEXT NOT NULL DEFAULT '',           -- what its own clock said then
  pinned TEXT NOT NULL DEFAULT ''             -- digests of the laboratory's certificates it holds
) STRICT;

CREATE TABLE pairing (
  -- One-time codes, hashed: whoever reads this enrols nothing with it.
  code TEXT PRIMARY KEY,
  kiosk INTEGER NOT NULL REFERENCES kiosk (number),
  made_at TEXT NOT NULL,
  until_s INTEGER NOT NULL,
  used_at TEXT
) STRICT;

CREATE TABLE certificate (
  -- Each kiosk's certificates; the digest of its DER bytes is what is compared.
  digest TEXT PRIMARY KEY,
  kiosk INTEGER NOT NULL REFERENCES kiosk (number),
  made_at TEXT NOT NULL,
  made_at_s INTEGER NOT NULL,
  used_at TEXT,                  -- when it was first shown
  ended_at TEXT                  -- replaced or revoked
) STRICT;
CREATE INDEX certificate_by_kiosk ON certificate (kiosk);

CREATE TABLE records (
  -- A kiosk's records, which number what they send. They belong to the kiosk that came with them
  -- first. whole: everything up to this number has come, refused or stored; it saves looking.
  store TEXT PRIMARY KEY,
  kiosk INTEGER NOT NULL REFERENCES kiosk (number),
  made_at TEXT NOT NULL,
  whole INTEGER NOT NULL DEFAULT 0,
  noted INTEGER NOT NULL DEFAULT 0  -- the highest number that the kiosk says it has noted
) STRICT;
CREATE INDEX records_by_kiosk ON records (kiosk);

CREATE TABLE arrival (
  -- Every number that came, with what became of it. A number twice with different identities: the
  -- kiosk's records were put back.
  store TEXT NOT NULL REFERENCES records (store),
  sequence INTEGER NOT NULL CHECK (sequence > 0),
  identity TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('stored', 'refused')),
  words TEXT NOT NULL DEFAULT '',
  at_s INTEGER NOT NULL,
  PRIMARY KEY (store, sequence, identity)
) STRICT;
CREATE INDEX arrival_refused ON arrival (store, at_s) WHERE outcome = 'refused';

CREATE TABLE version (
  -- Versions of results as they came; never changed, never deleted.
  identity TEXT PRIMARY KEY,
  store TEXT NOT NULL REFERENCES records (store),
  result_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  state TEXT NOT NULL,
  change TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  sha256 TEXT NOT NULL,          -- of what came
  size INTEGER NOT NULL,         -- of what came, in bytes
  body BLOB NOT NULL,           -- it, compressed by zlib
  came_at_s INTEGER NOT NULL,
  chain TEXT NOT NULL,           -- the entry of the chain that vouches for it
  entry INTEGER NOT NULL
) STRICT;
CREATE INDEX version_of_result ON version (store, result_id, version);

CREATE TABLE result (
  -- What each result's newest version says. It follows from `version` alone, in whatever order
  -- the versions came, and can be made again from it.
  store TEXT NOT NULL REFERENCES records (store),
  result_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  changed_at TEXT NOT NULL,
  identity TEXT NOT NULL,
  state TEXT NOT NULL,
  outcome TEXT NOT NULL,
  sample TEXT,
  made_at TEXT NOT NULL,         -- by the kiosk's clock
  day TEXT NOT NULL, -- of that; of results without names the first of the month
  clock TEXT NOT NULL,
  simulated INTEGER NOT NULL,
  identified INTEGER NOT NULL,
  operator TEXT,
  withheld TEXT,                 -- code
  grade TEXT,                    -- of the person's override where there is one
  hgb_g_per_l REAL,
  hgb_low REAL,
  hgb_high REAL,
  hct_l_per_l REAL,
  rbc_1e12_per_l REAL,
  hgb_index REAL,
  hct_index REAL,
  rbc_index REAL,
  accepted INTEGER NOT NULL,     -- fields
  refused INTEGER NOT NULL,
  checks TEXT NOT NULL,          -- JSON: check -> median over the fields
  failed TEXT NOT NULL,          -- JSON: code -> fields that failed by it
  types TEXT NOT NULL,           -- JSON: kind -> type -> cells
  person TEXT,                   -- JSON
  bundle_sha256 TEXT,
  profile_sha256 TEXT,
  software_version TEXT NOT NULL,
  came_at_s INTEGER NOT NULL,
  PRIMARY KEY (store, result_id)
) STRICT;
CREATE INDEX result_by_day ON result (day, store);
CREATE INDEX result_by_store_and_day ON result (store, day);
CREATE INDEX result_by_arrival ON result (came_at_s);
CREATE INDEX result_by_sample ON result (sample);

CREATE TABLE wanted_pictures (
  -- Results whose pictures a person asked for.
  store TEXT NOT NULL,
  result_id TEXT NOT NULL,
  by_whom TEXT NOT NULL,
  at TEXT NOT NULL,
  settled_at TEXT,               -- when the kiosk had sent what it would
  words TEXT NOT NULL DEFAULT '',  -- why it sent none
  PRIMARY KEY (store, result_id)
) STRICT;

CREATE TABLE picture (
  -- The picture itself lies in the picture store under its digest.
  store TEXT NOT NULL REFERENCES records (store),
  result_id TEXT NOT NULL,
  position INTEGER NOT NULL,     -- of the image in the result, from 0
  sha256 TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  came_at_s INTEGER NOT NULL,
  PRIMARY KEY (store, result_id, position, sha256)
) STRICT;

CREATE TRIGGER audit_stays_on_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
CREATE TRIGGER audit_stays_on_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
CREATE TRIGGER version_stays_on_update BEFORE UPDATE ON version
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
CREATE TRIGGER version_stays_on_delete BEFORE DELETE ON version
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
CREATE TRIGGER arrival_stays_on_update BEFORE UPDATE ON arrival
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
CREATE TRIGGER arrival_stays_on_delete BEFORE DELETE ON arrival
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
CREATE TRIGGER picture_stays_on_update BEFORE UPDATE ON picture
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
CREATE TRIGGER picture_stays_on_delete BEFORE DELETE ON picture
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
