-- What the drift of a device is told by, one row a result: what its reading says, pooled. Every
-- number can be made anew from the reading, so that no entry of the chain vouches for a row.

CREATE TABLE measured (
  result INTEGER PRIMARY KEY REFERENCES result (number),
  readable INTEGER NOT NULL,    -- images that were fields, accepted or refused
  background_red REAL,          -- light of the clear background, counts 0 to 255: mean of the fields
  background_green REAL,
  background_blue REAL,
  focus REAL,                   -- sharpness of the outlines, per um: mean of the fields
  unlikeness REAL,              -- distance from the fields that the models learnt from, the same
  cell_od_red REAL,             -- optical density of the red cells: mean of the accepted fields
  cell_od_green REAL,
  cell_od_blue REAL,
  hgb_index REAL,
  red_cells_a_field REAL,       -- found in an accepted field
  red_cells_named INTEGER NOT NULL,     -- not cut by the border, with a type
  red_cells_uncertain INTEGER NOT NULL, -- of which no type is sure enough
  white_cells_named INTEGER NOT NULL,
  white_cells_uncertain INTEGER NOT NULL,
  unfamiliar INTEGER NOT NULL CHECK (unfamiliar IN (0, 1))  -- cells look unlike all that was learnt
) STRICT;

CREATE TABLE measured_refusal (
  -- Why fields of a result were refused: a field counts under each of its reasons.
  result INTEGER NOT NULL REFERENCES measured (result),
  code TEXT NOT NULL,
  fields INTEGER NOT NULL CHECK (fields > 0),
  PRIMARY KEY (result, code)
) STRICT, WITHOUT ROWID;
