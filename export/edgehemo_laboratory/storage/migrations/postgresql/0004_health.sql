-- What each kiosk said of its health last, by a broker. It is no result: losing it loses nothing.

CREATE TABLE health (
  kiosk BIGINT PRIMARY KEY REFERENCES kiosk (number),
  came_at_s BIGINT NOT NULL,  -- when anything came last, by the receiver's clock
  online INTEGER NOT NULL CHECK (online IN (0, 1)),  -- 0: it said goodbye, or the broker lost it
  told_at_s BIGINT,           -- when it last said how it is
  said TEXT NOT NULL            -- JSON of that; empty where it never did
);
