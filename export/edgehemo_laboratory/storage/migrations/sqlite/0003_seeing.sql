-- What people see: how kiosks say they are, results by day, numbers that came twice, what analysers
-- measured. What the columns are, the other engine's file says too.

ALTER TABLE kiosk ADD COLUMN state TEXT NOT NULL DEFAULT '';  -- JSON of what it said of itself last
ALTER TABLE kiosk ADD COLUMN state_at_s INTEGER;               -- when

-- standing: given, withheld, held or withdrawn. corrected: whether it ever was. counted_day: the day
-- it counts for: its own where it says one that can be, else that on which it first came.
ALTER TABLE result ADD COLUMN standing TEXT NOT NULL DEFAULT 'given';
ALTER TABLE result ADD COLUMN corrected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE result ADD COLUMN counted_day TEXT NOT NULL DEFAULT '';
UPDATE result SET standing = CASE WHEN state IN ('withdrawn', 'held') THEN state
  WHEN outcome = 'withheld' THEN 'withheld' ELSE 'given' END;
UPDATE result SET corrected = 1 WHERE EXISTS (SELECT 1 FROM version v WHERE v.store = result.store
  AND v.result_id = result.result_id AND v.change = 'corrected');
UPDATE result SET counted_day = CASE WHEN identified = 1 AND clock = 'set' AND day >= '2020-01-01'
  AND day <= date(f.came_at_s + 86400, 'unixepoch') THEN day ELSE date(f.came_at_s, 'unixepoch') END
  FROM (SELECT store, result_id, min(came_at_s) AS came_at_s FROM version GROUP BY store, result_id)
  AS f WHERE f.store = result.store AND f.result_id = result.result_id;
DROP INDEX result_by_day;
DROP INDEX result_by_store_and_day;
-- All that lists and sums by day look at: they read no row of the table.
CREATE INDEX result_seen ON result (counted_day, store, made_at, result_id, standing, corrected, grade);
CREATE INDEX result_of_store ON result (store, counted_day, made_at, result_id, standing, corrected, grade);

CREATE TABLE result_day (
  -- Results of a kiosk's records by the day they count for; made with them, in their transaction.
  store TEXT NOT NULL REFERENCES records (store),
  day TEXT NOT NULL,
  results INTEGER NOT NULL,  -- all of them; what follows leaves withdrawn ones out
  given INTEGER NOT NULL,  -- with a result to be used
  withheld INTEGER NOT NULL,
  held INTEGER NOT NULL,
  withdrawn INTEGER NOT NULL,
  corrected INTEGER NOT NULL,
  accepted INTEGER NOT NULL,  -- fields
  refused INTEGER NOT NULL,
  hgb_n INTEGER NOT NULL,  -- results with a haemoglobin, and their sum, g/L
  hgb_sum REAL NOT NULL,
  focus_n INTEGER NOT NULL,  -- likewise each check, of the results' medians
  focus_sum REAL NOT NULL,
  exposure_n INTEGER NOT NULL,
  exposure_sum REAL NOT NULL,
  evenness_n INTEGER NOT NULL,
  evenness_sum REAL NOT NULL,
  stain_density_n INTEGER NOT NULL,
  stain_density_sum REAL NOT NULL,
  stain_colour_n INTEGER NOT NULL,
  stain_colour_sum REAL NOT NULL,
  crowding_n INTEGER NOT NULL,
  crowding_sum REAL NOT NULL,
  envelope_n INTEGER NOT NULL,
  envelope_sum REAL NOT NULL,
  failed TEXT NOT NULL,  -- JSON: code -> fields that failed by it
  types TEXT NOT NULL,  -- JSON: kind -> type -> cells
  PRIMARY KEY (store, day)
) STRICT;
CREATE INDEX result_day_by_day ON result_day (day);

CREATE TABLE doubled (
  -- Numbers of a kiosk's records that came with several contents.
  store TEXT NOT NULL REFERENCES records (store),
  sequence INTEGER NOT NULL,
  PRIMARY KEY (store, sequence)
) STRICT;
INSERT INTO doubled (store, sequence) SELECT store, sequence FROM arrival
  GROUP BY store, sequence HAVING count(*) > 1;

CREATE TABLE paired (
  -- What an analyser measured of a sample; of one quantity the highest number counts.
  store TEXT NOT NULL REFERENCES records (store),
  number INTEGER NOT NULL,
  sample TEXT NOT NULL,
  measurand TEXT NOT NULL,
  value REAL NOT NULL,
  analyser TEXT,
  at TEXT NOT NULL,
  came_at_s INTEGER NOT NULL,
  PRIMARY KEY (store, number)
) STRICT;
CREATE INDEX paired_by_sample ON paired (store, sample, measurand, number);
CREATE INDEX result_by_store_and_sample ON result (store, sample);
CREATE TRIGGER paired_stays_on_update BEFORE UPDATE ON paired
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
CREATE TRIGGER paired_stays_on_delete BEFORE DELETE ON paired
BEGIN SELECT RAISE(ABORT, 'what came is never changed and never deleted'); END;
