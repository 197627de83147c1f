-- What the kiosk is doing, stored after every event: after a power cut it goes on from it. It says
-- nothing of what was measured, so that no entry of the chain vouches for it.

CREATE TABLE kiosk (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  state TEXT NOT NULL
) STRICT;
