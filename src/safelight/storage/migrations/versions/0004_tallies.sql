-- Counts of what is kept, so that nobody has to read it all. A change is a row of its own, written by the transaction that makes
-- it true: no two transactions wait for one counter. Upkeep adds the changes up; a count is its tally and the changes since.
CREATE TABLE tallies (
    account_id bigint NOT NULL,  -- 0 is everybody together
    what       text NOT NULL,    -- bytes (of live assets), or the state in which jobs ended
    amount     bigint NOT NULL,
    PRIMARY KEY (account_id, what)
);
CREATE TABLE deltas (
    account_id bigint NOT NULL,
    what       text NOT NULL,
    amount     bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX deltas_of_account ON deltas (account_id, what);

CREATE FUNCTION count_assets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO deltas SELECT account_id, 'bytes', sum(size) FROM fresh WHERE state = 'live' GROUP BY account_id;
    ELSE
        INSERT INTO deltas SELECT account_id, 'bytes', sum(size) FROM (
            SELECT account_id, size FROM fresh WHERE state = 'live'
            UNION ALL SELECT account_id, -size FROM stale WHERE state = 'live') changed
        GROUP BY account_id HAVING sum(size) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_new_assets AFTER INSERT ON assets REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION count_assets();
CREATE TRIGGER count_changed_assets AFTER UPDATE ON assets REFERENCING OLD TABLE AS stale NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION count_assets();

CREATE FUNCTION count_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO deltas SELECT account_id, state, count(*) FROM fresh
        WHERE state IN ('succeeded', 'failed', 'cancelled') GROUP BY account_id, state;
    ELSE
        INSERT INTO deltas SELECT account_id, state, sum(n) FROM (
            SELECT account_id, state, 1 AS n FROM fresh UNION ALL SELECT account_id, state, -1 FROM stale) changed
        WHERE state IN ('succeeded', 'failed', 'cancelled') GROUP BY account_id, state HAVING sum(n) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_new_jobs AFTER INSERT ON jobs REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION count_jobs();
CREATE TRIGGER count_changed_jobs AFTER UPDATE ON jobs REFERENCING OLD TABLE AS stale NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION count_jobs();

INSERT INTO deltas SELECT account_id, 'bytes', sum(size) FROM assets WHERE state = 'live' GROUP BY account_id;
INSERT INTO deltas SELECT account_id, state, count(*) FROM jobs
WHERE state IN ('succeeded', 'failed', 'cancelled') GROUP BY account_id, state;

-- What is asked about, and nothing beside it: these stay small, or are read in the order of what is due.
DROP INDEX jobs_by_state, jobs_of_account;
CREATE INDEX jobs_standing ON jobs (account_id, id) WHERE erased_at IS NULL;
CREATE INDEX assets_cached ON assets (account_id)
    WHERE state = 'live' AND (kind IN ('init_image', 'mask_image') OR (kind = 'upload' AND expires_at IS NOT NULL));
CREATE INDEX assets_without_end ON assets (created_at) WHERE kind = 'output' AND state = 'live' AND expires_at IS NULL;
