-- What people see: how kiosks say they are, results by day, numbers that came twice, what analysers
-- measured.

ALTER TABLE kiosk ADD COLUMN state TEXT COLLATE "C" NOT NULL DEFAULT '';  -- JSON of what it said of itself last
ALTER TABLE kiosk ADD COLUMN state_at_s BIGINT;               -- when

-- standing: given, withheld, held or withdrawn. corrected: whether it ever was. counted_day: the day
-- it counts for: its own where it says one that can be, else that on which it first came.
ALTER TABLE result ADD COLUMN standing TEXT COLLATE "C" NOT NULL DEFAULT 'given';
ALTER TABLE result ADD COLUMN corrected INTEGER NOT NULL DEFAULT 0;
ALTER TABLE result ADD COLUMN counted_day TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE result SET standing = CASE WHEN state IN ('withdrawn', 'held') THEN state
  WHEN outcome = 'withheld' THEN 'withheld' ELSE 'given' END;
UPDATE result SET corrected = 1 WHERE EXISTS (SELECT 1 FROM version v WHERE v.store = result.store
  AND v.result_id = result.result_id AND v.change = 'corrected');
UPDATE result SET counted_day = CASE WHEN identified = 1 AND clock = 'set' AND day >= '2020-01-01'
  AND day <= to_char(to_timestamp(f.came_at_s + 86400) AT TIME ZONE 'UTC', 'YYYY-MM-DD') THEN day
  ELSE to_char(to_timestamp(f.came_at_s) AT TIME ZONE 'UTC', 'YYYY-MM-DD') END
  FROM (SELECT store, result_id, min(came_at_s) AS came_at_s FROM version GROUP BY store, result_id)
  AS f WHERE f.store = result.store AND f.result_id = result.result_id;
DROP INDEX result_by_day;
DROP INDEX result_by_store_and_day;
-- All that lists and sums by day look at: they read no row of the table.
CREATE INDEX result_seen ON result (counted_day, store, made_at, result_id, standing, corrected, grade);
CREATE INDEX result_of_store ON result (store, counted_day, made_at, result_id, standing, corrected, grade);

CREATE TABLE result_day (
  -- Results of a kiosk's records by the day they count for; made with them, in their transaction.
  store TEXT COLLATE "C" NOT NULL REFERENCES records (store),
  day TEXT COLLATE "C" NOT NULL,
  results BIGINT NOT NULL,  -- all of them; what follows leaves withdrawn ones out
  given BIGINT NOT NULL,  -- with a result to be used
  withheld BIGINT NOT NULL,
  held BIGINT NOT NULL,
  withdrawn BIGINT NOT NULL,
  corrected BIGINT NOT NULL,
  accepted BIGINT NOT NULL,  -- fields
  refused BIGINT NOT NULL,
  hgb_n BIGINT NOT NULL,  -- results with a haemoglobin, and their sum, g/L
  hgb_sum DOUBLE PRECISION NOT NULL,
  focus_n BIGINT NOT NULL,  -- likewise each check, of the results' medians
  focus_sum DOUBLE PRECISION NOT NULL,
  exposure_n BIGINT NOT NULL,
  exposure_sum DOUBLE PRECISION NOT NULL,
  evenness_n BIGINT NOT NULL,
  evenness_sum DOUBLE PRECISION NOT NULL,
  stain_density_n BIGINT NOT NULL,
  stain_density_sum DOUBLE PRECISION NOT NULL,
  stain_colour_n BIGINT NOT NULL,
  stain_colour_sum DOUBLE PRECISION NOT NULL,
  crowding_n BIGINT NOT NULL,
  crowding_sum DOUBLE PRECISION NOT NULL,
  envelope_n BIGINT NOT NULL,
  envelope_sum DOUBLE PRECISION NOT NULL,
  failed TEXT COLLATE "C" NOT NULL,  -- JSON: code -> fields that failed by it
  types TEXT COLLATE "C" NOT NULL,  -- JSON: kind -> type -> cells
  PRIMARY KEY (store, day)
);
CREATE INDEX result_day_by_day ON result_day (day);

CREATE TABLE doubled (
  -- Numbers of a kiosk's records that came with several contents.
  store TEXT COLLATE "C" NOT NULL REFERENCES records (store),
  sequence BIGINT NOT NULL,
  PRIMARY KEY (store, sequence)
);
INSERT INTO doubled (store, sequence) SELECT store, sequence FROM arrival
  GROUP BY store, sequence HAVING count(*) > 1;

CREATE TABLE paired (
  -- What an analyser measured of a sample; of one quantity the highest number counts.
  store TEXT COLLATE "C" NOT NULL REFERENCES records (store),
  number BIGINT NOT NULL,
  sample TEXT COLLATE "C" NOT NULL,
  measurand TEXT COLLATE "C" NOT NULL,
  value DOUBLE PRECISION NOT NULL,
  analyser TEXT COLLATE "C",
  at TEXT COLLATE "C" NOT NULL,
  came_at_s BIGINT NOT NULL,
  PRIMARY KEY (store, number)
);
CREATE INDEX paired_by_sample ON paired (store, sample, measurand, number);
CREATE INDEX result_by_store_and_sample ON result (store, sample);
CREATE TRIGGER paired_stays BEFORE UPDATE OR DELETE ON paired
  FOR EACH ROW EXECUTE FUNCTION stays();
