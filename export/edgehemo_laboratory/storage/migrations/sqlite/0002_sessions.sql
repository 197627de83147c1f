-- Who is signed in, in a browser: several servers know them, and a new start of one ends none.

CREATE TABLE session (
  cookie TEXT PRIMARY KEY,     -- SHA-256 of it: whoever reads this signs in nowhere with it
  person TEXT NOT NULL REFERENCES person (name),
  made_at_s INTEGER NOT NULL,
  seen_at_s INTEGER NOT NULL
) STRICT;
CREATE INDEX session_by_person ON session (person);
