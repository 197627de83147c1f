-- What kiosks send, who they are, and everything that was done. Text is compared byte by byte, as
-- the other engine does. Seconds count from 1970 by the receiver's clock.

CREATE TABLE laboratory (
  id TEXT COLLATE "C" PRIMARY KEY,
  made_at TEXT NOT NULL
);

CREATE TABLE audit (
  -- The chains: one of the laboratory, one a kiosk. Each entry holds the hash of the one before.
  chain TEXT COLLATE "C" NOT NULL,
  number BIGINT NOT NULL,
  at TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  details TEXT NOT NULL,         -- JSON
  before TEXT NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (chain, number)
);
CREATE INDEX audit_by_subject ON audit (subject, chain, number);

CREATE TABLE person (
  name TEXT COLLATE "C" PRIMARY KEY,
  role TEXT NOT NULL CHECK (role IN ('operator', 'supervisor', 'engineer')),
  passphrase TEXT NOT NULL,      -- Argon2 hash
  made_at TEXT NOT NULL,
  wrong INTEGER NOT NULL DEFAULT 0,
  wrong_at_s BIGINT,
  removed_at TEXT
);

CREATE TABLE kiosk (
  number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL UNIQUE,
  site TEXT COLLATE "C" NOT NULL,
  made_at TEXT NOT NULL,
  enrolled_at TEXT,              -- when it first came with a pairing code
  revoked_at TEXT,
  revoked_why TEXT NOT NULL DEFAULT '',
  identified INTEGER NOT NULL DEFAULT 0 CHECK (identified IN (0, 1)),  -- may send names
  pictures TEXT NOT NULL DEFAULT 'asked' CHECK (pictures IN ('never', 'asked', 'all')),
  device TEXT NOT NULL DEFAULT '',            -- what it says it is called
  software_version TEXT NOT NULL DEFAULT '',  -- what it says runs there
  heard_at_s BIGINT,             -- when it was last heard
  sent_at TEXT NOT NULL DEFAULT '',           -- what its own clock said then
  pinned TEXT NOT NULL DEFAULT ''             -- digests of the laboratory's certificates it holds
);

CREATE TABLE pairing (
  -- One-time codes, hashed: whoever reads this enrols nothing with it.
  code TEXT COLLATE "C" PRIMARY KEY,
  kiosk BIGINT NOT NULL REFERENCES kiosk (number),
  made_at TEXT NOT NULL,
  until_s BIGINT NOT NULL,
  used_at TEXT
);

CREATE TABLE certificate (
  -- Each kiosk's certificates; the digest of its DER bytes is what is compared.
  digest TEXT COLLATE "C" PRIMARY KEY,
  kiosk BIGINT NOT NULL REFERENCES kiosk (number),
  made_at TEXT NOT NULL,
  made_at_s BIGINT NOT NULL,
  used_at TEXT,                  -- when it was first shown
  ended_at TEXT                  -- replaced or revoked
);
CREATE INDEX certificate_by_kiosk ON certificate (kiosk);

CREATE TABLE records (
  -- A kiosk's records, which number what they send. They belong to the kiosk that came with them
  -- first. whole: everything up to this number has come, refused or stored; it saves looking.
  store TEXT COLLATE "C" PRIMARY KEY,
  kiosk BIGINT NOT NULL REFERENCES kiosk (number),
  made_at TEXT NOT NULL,
  whole BIGINT NOT NULL DEFAULT 0,
  noted BIGINT NOT NULL DEFAULT 0  -- the highest number that the kiosk says it has noted
);
CREATE INDEX records_by_kiosk ON records (kiosk);

CREATE TABLE arrival (
  -- Every number that came, with what became of it. A number twice with different identities: the
  -- kiosk's records were put back.
  store TEXT COLLATE "C" NOT NULL REFERENCES records (store),
  sequence BIGINT NOT NULL CHECK (sequence > 0),
  identity TEXT COLLATE "C" NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('stored', 'refused')),
  words TEXT NOT NULL DEFAULT '',
  at_s BIGINT NOT NULL,
  PRIMARY KEY (store, sequence, identity)
);
CREATE INDEX arrival_refused ON arrival (store, at_s) WHERE outcome = 'refused';

CREATE TABLE version (
  -- Versions of results as they came; never changed, never deleted.
  identity TEXT COLLATE "C" PRIMARY KEY,
  store TEXT COLLATE "C" NOT NULL REFERENCES records (store),
  result_id TEXT COLLATE "C" NOT NULL,
  version INTEGER NOT NULL,
  state TEXT NOT NULL,
  change TEXT NOT NULL,
  changed_at TEXT COLLATE "C" NOT NULL,
  sha256 TEXT NOT NULL,          -- of what came
  size INTEGER NOT NULL,         -- of what came, in bytes
  body BYTEA NOT NULL,           -- it, compressed by zlib
  came_at_s BIGINT NOT NULL,
  chain TEXT NOT NULL,           -- the entry of the chain that vouches for it
  entry BIGINT NOT NULL
);
ALTER TABLE version ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX version_of_result ON version (store, result_id, version);

CREATE TABLE result (
  -- What each result's newest version says. It follows from `version` alone, in whatever order
  -- the versions came, and can be made again from it.
  store TEXT COLLATE "C" NOT NULL REFERENCES records (store),
  result_id TEXT COLLATE "C" NOT NULL,
  version INTEGER NOT NULL,
  changed_at TEXT COLLATE "C" NOT NULL,
  identity TEXT COLLATE "C" NOT NULL,
  state TEXT NOT NULL,
  outcome TEXT NOT NULL,
  sample TEXT COLLATE "C",
  made_at TEXT NOT NULL,         -- by the kiosk's clock
  day TEXT COLLATE "C" NOT NULL, -- of that; of results without names the first of the month
  clock TEXT NOT NULL,
  simulated INTEGER NOT NULL,
  identified INTEGER NOT NULL,
  operator TEXT,
  withheld TEXT,                 -- code
  grade TEXT,                    -- of the person's override where there is one
  hgb_g_per_l DOUBLE PRECISION,
  hgb_low DOUBLE PRECISION,
  hgb_high DOUBLE PRECISION,
  hct_l_per_l DOUBLE PRECISION,
  rbc_1e12_per_l DOUBLE PRECISION,
  hgb_index DOUBLE PRECISION,
  hct_index DOUBLE PRECISION,
  rbc_index DOUBLE PRECISION,
  accepted INTEGER NOT NULL,     -- fields
  refused INTEGER NOT NULL,
  checks TEXT NOT NULL,          -- JSON: check -> median over the fields
  failed TEXT NOT NULL,          -- JSON: code -> fields that failed by it
  types TEXT NOT NULL,           -- JSON: kind -> type -> cells
  person TEXT,                   -- JSON
  bundle_sha256 TEXT COLLATE "C",
  profile_sha256 TEXT COLLATE "C",
  software_version TEXT NOT NULL,
  came_at_s BIGINT NOT NULL,
  PRIMARY KEY (store, result_id)
);
CREATE INDEX result_by_day ON result (day, store);
CREATE INDEX result_by_store_and_day ON result (store, day);
CREATE INDEX result_by_arrival ON result (came_at_s);
CREATE INDEX result_by_sample ON result (sample);

CREATE TABLE wanted_pictures (
  -- Results whose pictures a person asked for.
  store TEXT COLLATE "C" NOT NULL,
  result_id TEXT COLLATE "C" NOT NULL,
  by_whom TEXT NOT NULL,
  at TEXT NOT NULL,
  settled_at TEXT,               -- when the kiosk had sent what it would
  words TEXT NOT NULL DEFAULT '',  -- why it sent none
  PRIMARY KEY (store, result_id)
);

CREATE TABLE picture (
  -- The picture itself lies in the picture store under its digest.
  store TEXT COLLATE "C" NOT NULL REFERENCES records (store),
  result_id TEXT COLLATE "C" NOT NULL,
  position INTEGER NOT NULL,     -- of the image in the result, from 0
  sha256 TEXT COLLATE "C" NOT NULL,
  bytes BIGINT NOT NULL,
  came_at_s BIGINT NOT NULL,
  PRIMARY KEY (store, result_id, position, sha256)
);

CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'what came is never changed and never deleted'; END $$;
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION stays();
CREATE TRIGGER version_stays BEFORE UPDATE OR DELETE ON version
FOR EACH ROW EXECUTE FUNCTION stays();
CREATE TRIGGER arrival_stays BEFORE UPDATE OR DELETE ON arrival
FOR EACH ROW EXECUTE FUNCTION stays();
CREATE TRIGGER picture_stays BEFORE UPDATE OR DELETE ON picture
FOR EACH ROW EXECUTE FUNCTION stays();
