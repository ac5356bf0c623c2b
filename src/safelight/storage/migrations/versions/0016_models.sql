-- Checkpoints and LoRAs that callers had installed, by the job that did; their bytes are that job's assets. A caller's words are in
-- it, so an erasure deletes the row and has the table written anew.
CREATE TABLE models (
    job_id     bigint PRIMARY KEY REFERENCES jobs,
    account_id bigint NOT NULL REFERENCES accounts,
    name       text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('checkpoint', 'lora')),
    everybody  boolean NOT NULL,
    UNIQUE (account_id, name)
);
CREATE INDEX models_of_everybody ON models (job_id) WHERE everybody;
