-- Browsers that are signed in, each by a random token of which only the hash is kept. A session opens what its key opens.
CREATE TABLE sessions (
    hash       bytea PRIMARY KEY,
    key_id     bigint NOT NULL REFERENCES keys,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_of_key ON sessions (key_id);
