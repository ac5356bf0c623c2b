-- Files and rows are compared in the order of their keys, which stores list by their bytes.
ALTER TABLE assets ALTER COLUMN blob_key TYPE text COLLATE "C";

-- How the last comparison ended, in one row. By its mark this database is known in the store.
CREATE TABLE stocktakings (
    one     bool PRIMARY KEY DEFAULT true CHECK (one),
    mark    text NOT NULL,
    number  bigint NOT NULL DEFAULT 1,
    at      timestamptz,                -- of the end of the last; none has ended yet
    files   bigint NOT NULL DEFAULT 0,
    lost    bigint NOT NULL DEFAULT 0,
    removed bigint NOT NULL DEFAULT 0,  -- by all of them
    others  text[] NOT NULL DEFAULT '{}'
);

-- Files that no row was ever known of, since when that is known, and which comparison saw each last.
CREATE TABLE strays (
    blob_key text COLLATE "C" PRIMARY KEY,
    number   bigint NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now()
);
