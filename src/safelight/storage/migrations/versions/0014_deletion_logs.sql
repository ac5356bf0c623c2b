-- The logs of deletions that lie beside this database, and how far it has read each. A copy that is restored knows less than its log,
-- and reads on from here.
CREATE TABLE deletion_logs (
    id      uuid PRIMARY KEY,
    host    text NOT NULL,
    path    text NOT NULL,
    begun   timestamptz NOT NULL,
    bytes   bigint NOT NULL DEFAULT 0,
    lines   bigint NOT NULL DEFAULT 0,
    hash    text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
