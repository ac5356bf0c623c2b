-- The keys under which requests, inputs, uploads and outputs rest. To erase is to delete a key; what was sealed under it is noise.
-- In small parts by ranges of ids (`storage/drawers.py` makes them), so that writing one anew takes milliseconds whatever is kept.
CREATE TABLE request_keys (
    request_id bigint  NOT NULL,
    sent       boolean NOT NULL,  -- files that came from the caller have a key of their own: they may have to go before the rest
    master     bytea   NOT NULL,  -- the mark of the master key that this one is wrapped under
    wrapped    bytea   NOT NULL,
    PRIMARY KEY (request_id, sent)
) PARTITION BY RANGE (request_id);
ALTER TABLE request_keys ALTER master SET STORAGE PLAIN, ALTER wrapped SET STORAGE PLAIN;

-- The master keys themselves are not in the database; only by what mark they are known, and since when one is not used any more.
CREATE TABLE masters (
    mark    bytea PRIMARY KEY,
    retired xid8
);

-- What an earlier version left in the clear stays readable until it has been sealed.
ALTER TABLE requests ALTER body DROP NOT NULL, ADD COLUMN sealed bytea;
CREATE INDEX requests_unsealed ON requests (job_id) WHERE body IS NOT NULL;
ALTER TABLE assets ADD COLUMN sealed boolean NOT NULL DEFAULT false;
CREATE INDEX assets_unsealed ON assets (id) WHERE state = 'live' AND NOT sealed;

-- What has to be known of a request without opening it. Jobs that ended before this do not say.
ALTER TABLE jobs ADD COLUMN files integer, ADD COLUMN tells boolean;
UPDATE jobs SET tells = coalesce(r.body ->> 'webhook', '') <> ''
FROM requests r WHERE r.job_id = jobs.id AND jobs.state IN ('queued', 'running');
