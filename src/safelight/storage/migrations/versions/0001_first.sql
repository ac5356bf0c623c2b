-- Requests (jobs and uploads) share one sequence. It begins anywhere, so that an id does not tell how many came before.
CREATE SEQUENCE request_ids;
SELECT setval('request_ids', 100000 + floor(random() * 900000)::bigint);

-- Every claim of a job draws a higher fence; a commit with a lower one is refused.
CREATE SEQUENCE fences;

CREATE TABLE accounts (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    webhook_secret bytea NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE keys (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   bigint NOT NULL REFERENCES accounts,
    label        text NOT NULL,
    prefix       text NOT NULL,
    hash         bytea NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE TABLE receipts (
    id           uuid PRIMARY KEY,
    account_id   bigint NOT NULL REFERENCES accounts,
    key_id       bigint REFERENCES keys,
    scope        text NOT NULL,
    request_ids  bigint[] NOT NULL,
    assets       integer NOT NULL DEFAULT 0,
    bytes        bigint NOT NULL DEFAULT 0,
    requested_at timestamptz NOT NULL DEFAULT now(),
    verified_at  timestamptz
);
CREATE INDEX receipts_unverified ON receipts (requested_at) WHERE verified_at IS NULL;

-- No text that a caller wrote is in this table: that is in `requests`, whose rows an erasure deletes.
CREATE TABLE jobs (
    id            bigint PRIMARY KEY,
    account_id    bigint NOT NULL REFERENCES accounts,
    state         text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    file_prefix   text NOT NULL UNIQUE,
    rank          integer NOT NULL,          -- how many of its account were waiting before it; the lowest goes first
    cost          double precision NOT NULL, -- pixels x rows x steps
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    task_id       bigint,                    -- the entry in the queue that may claim it
    attempt       integer NOT NULL DEFAULT 0,
    fence         bigint NOT NULL DEFAULT 0,
    lease_until   timestamptz,
    step          integer NOT NULL DEFAULT 0,
    steps         integer NOT NULL,
    seconds       double precision,
    model         text,
    nsfw          boolean[] NOT NULL DEFAULT '{}',
    native_width  integer,
    native_height integer,
    error         text,
    drop_inputs   boolean NOT NULL DEFAULT false, -- the cache was cleared while it ran
    erased_at     timestamptz,
    receipt_id    uuid REFERENCES receipts
) WITH (fillfactor = 80);
CREATE INDEX jobs_active ON jobs (account_id) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_of_account ON jobs (account_id, id);
CREATE INDEX jobs_by_state ON jobs (state);

-- What was asked, word by word. In parts, because erasing text from the files means writing a part anew.
CREATE TABLE requests (
    job_id bigint PRIMARY KEY REFERENCES jobs,
    body   jsonb NOT NULL
) PARTITION BY HASH (job_id);
DO $$ BEGIN
    FOR n IN 0..31 LOOP
        EXECUTE format('CREATE TABLE requests_%s PARTITION OF requests FOR VALUES WITH (MODULUS 32, REMAINDER %s)', n, n);
    END LOOP;
END $$;

-- Parts of `requests` from which erased text is still to be written out.
CREATE TABLE wipes (
    part text PRIMARY KEY,
    last xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at   timestamptz NOT NULL DEFAULT now()
);

-- A row exists whenever bytes exist.
CREATE TABLE assets (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts,
    request_id bigint NOT NULL,
    kind       text NOT NULL,
    state      text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'live', 'deleting', 'gone')),
    name       text NOT NULL,
    blob_key   text NOT NULL UNIQUE,
    fence      bigint NOT NULL DEFAULT 0,   -- of the attempt that writes it; 0 for what callers send
    size       bigint,
    sha256     text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    settles_at timestamptz,                 -- until then a writer may still be at work, and gone would be too much said
    gone_at    timestamptz,
    receipt_id uuid REFERENCES receipts
);
CREATE UNIQUE INDEX assets_live_name ON assets (name) WHERE state = 'live';
CREATE INDEX assets_name ON assets (name);
CREATE INDEX assets_of_request ON assets (request_id);
CREATE INDEX assets_unsettled ON assets (id) WHERE state IN ('pending', 'deleting');
CREATE INDEX assets_expiring ON assets (expires_at) WHERE state = 'live' AND expires_at IS NOT NULL;
CREATE INDEX assets_of_receipt ON assets (receipt_id) WHERE state = 'deleting';
CREATE INDEX assets_of_account ON assets (account_id) WHERE state = 'live';

CREATE TABLE usage (
    job_id     bigint PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts,
    pictures   integer NOT NULL,
    cost       double precision NOT NULL,
    seconds    double precision NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX usage_of_account ON usage (account_id, at);

-- References only: what is sent is rendered from live rows at the moment of sending.
CREATE TABLE outbox (
    id          uuid PRIMARY KEY,
    account_id  bigint NOT NULL REFERENCES accounts,
    job_id      bigint NOT NULL UNIQUE REFERENCES jobs,
    state       text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead', 'cancelled')),
    attempt     integer NOT NULL DEFAULT 0,
    task_id     bigint,
    last_status integer,
    created_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz
);
CREATE INDEX outbox_waiting ON outbox (created_at) WHERE state = 'waiting';

-- Whose turn it is to look after the house.
CREATE TABLE turns (
    name  text PRIMARY KEY,
    until timestamptz NOT NULL
);

-- What each worker last said of itself.
CREATE TABLE nodes (
    name             text PRIMARY KEY,
    seconds_per_cost double precision,
    step_seconds     double precision NOT NULL DEFAULT 0,
    rows_per_tick    double precision NOT NULL DEFAULT 0,
    rows_waiting     integer NOT NULL DEFAULT 0,
    seen_at          timestamptz NOT NULL DEFAULT now()
);
