-- How often an account has asked for something within a minute. Unlogged: after a crash everybody may begin anew.
CREATE UNLOGGED TABLE rates (
    account_id bigint NOT NULL REFERENCES accounts,
    what       text NOT NULL,
    began_at   timestamptz NOT NULL DEFAULT now(),
    calls      integer NOT NULL DEFAULT 1,
    PRIMARY KEY (account_id, what)
);

-- An account looks through its own entries.
DROP INDEX entries_of_wallet;
CREATE INDEX entries_of_account ON entries (account_id, id);
