-- By which key each job was asked for, so that it stops when that is revoked. Not known of jobs from before.
ALTER TABLE jobs ADD COLUMN key_id bigint;

-- Whoever revokes a key, and however: whoever works for it hears of it at once.
CREATE FUNCTION tell_of_revoked_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('safelight_revoked', NEW.id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER tell_of_revoked_key AFTER UPDATE OF revoked_at ON keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION tell_of_revoked_key();

-- The webhooks of an account, of the newest job first.
CREATE INDEX outbox_of_account ON outbox (account_id, job_id);
