-- What one account may have; nothing where its plan or the settings say it, as of everybody.
ALTER TABLE accounts
    ADD COLUMN most_jobs  integer CHECK (most_jobs > 0),
    ADD COLUMN most_bytes bigint CHECK (most_bytes > 0);

-- On what each worker runs, the memory there in bytes, and the checkpoints that it holds: {name: {"state": "loaded", "bytes": 1}}.
ALTER TABLE nodes
    ADD COLUMN device       text NOT NULL DEFAULT '',
    ADD COLUMN memory_used  bigint NOT NULL DEFAULT 0,
    ADD COLUMN memory_free  bigint NOT NULL DEFAULT 0,
    ADD COLUMN memory_total bigint NOT NULL DEFAULT 0,
    ADD COLUMN checkpoints  jsonb NOT NULL DEFAULT '{}';
