-- A receiver that counts what it gets may say that it never got what it had once acknowledged, such
-- as a laboratory whose storage was put back. Then the message is made and sent again.

ALTER TABLE outbox ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;  -- how often that was said
DROP TRIGGER outbox_message_stays;
CREATE TRIGGER outbox_message_stays BEFORE UPDATE OF
  receiver, sequence, result, version, noted_at, format, identity, sha256, bytes ON outbox
WHEN NEW.receiver IS NOT OLD.receiver OR NEW.sequence IS NOT OLD.sequence
  OR NEW.result IS NOT OLD.result OR NEW.version IS NOT OLD.version
  OR NEW.noted_at IS NOT OLD.noted_at
  OR (OLD.identity IS NOT NULL AND NEW.missed IS OLD.missed AND (NEW.format IS NOT OLD.format
    OR NEW.identity IS NOT OLD.identity OR NEW.sha256 IS NOT OLD.sha256
    OR NEW.bytes IS NOT OLD.bytes))
BEGIN SELECT RAISE(ABORT, 'what is sent is never changed'); END;
DROP TRIGGER outbox_delivered_stays;
CREATE TRIGGER outbox_delivered_stays BEFORE UPDATE OF state ON outbox
WHEN OLD.state = 'delivered' AND NEW.state != 'delivered' AND NEW.missed IS OLD.missed
BEGIN SELECT RAISE(ABORT, 'what was received stays received'); END;
