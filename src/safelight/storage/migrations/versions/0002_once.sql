-- A request that is sent again under the same Idempotency-Key finds the job of the first one. Hashes only: of the key, and
-- of the key and what was asked together, so that nobody without the key can try out what was asked.
CREATE TABLE once (
    account_id bigint NOT NULL REFERENCES accounts,
    key        bytea NOT NULL,
    request    bytea NOT NULL,
    job_id     bigint NOT NULL REFERENCES jobs,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, key)
);
CREATE INDEX once_created ON once (created_at);
