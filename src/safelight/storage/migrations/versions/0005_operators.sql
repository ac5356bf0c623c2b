-- A key that may also look after the server.
ALTER TABLE keys ADD COLUMN operator boolean NOT NULL DEFAULT false;

-- What callers asked for and this server does not have, by names from our own lists: nothing that a caller wrote.
CREATE TABLE wishes (
    what    text PRIMARY KEY,
    times   bigint NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now()
);
