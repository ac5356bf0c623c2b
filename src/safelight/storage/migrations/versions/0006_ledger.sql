-- Money, in millionths of the currency. A wallet is what its entries add up to, kept beside them so that one locked row says
-- whether a price can be held.
CREATE TABLE wallets (
    account_id bigint PRIMARY KEY REFERENCES accounts,
    available  bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    held       bigint NOT NULL DEFAULT 0 CHECK (held >= 0)
);

-- Double entry. A transfer is named for what causes it (hold:302455), so that nothing is booked twice; no text of callers.
CREATE TABLE entries (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer   text NOT NULL,
    account_id bigint NOT NULL REFERENCES accounts,
    book       text NOT NULL CHECK (book IN ('wallet', 'held', 'sales', 'paid in')),
    amount     bigint NOT NULL,
    note       text NOT NULL DEFAULT '',
    at         timestamptz NOT NULL DEFAULT now(),
    UNIQUE (transfer, book)
);
CREATE INDEX entries_of_wallet ON entries (account_id, id) WHERE book = 'wallet';

CREATE FUNCTION entries_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM written GROUP BY transfer HAVING sum(amount) <> 0) THEN
        RAISE EXCEPTION 'the entries of a transfer do not add up to nothing';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entries_balance AFTER INSERT ON entries REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION entries_balance();

CREATE FUNCTION entries_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries are not changed; they are answered by others';
END $$;
CREATE TRIGGER entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION entries_stay();

-- What accepted jobs will pay, should they succeed.
CREATE TABLE holds (
    job_id     bigint PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts,
    amount     bigint NOT NULL CHECK (amount >= 0),
    covered    boolean NOT NULL,            -- one of the calls that its account's plan includes
    state      text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'captured', 'released')),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
CREATE INDEX holds_covered ON holds (account_id, created_at) WHERE covered AND state <> 'released';

-- Who has which plan until when. The latest that has begun and not ended counts.
CREATE TABLE subscriptions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   bigint NOT NULL REFERENCES accounts,
    key_id       bigint REFERENCES keys,    -- the key that was bought with it
    plan         text NOT NULL,
    period       text CHECK (period IN ('monthly', 'yearly')), -- NULL: given by the operator
    price        bigint NOT NULL DEFAULT 0,
    began_at     timestamptz NOT NULL DEFAULT now(),
    ends_at      timestamptz,               -- NULL: when it is ended
    cancelled_at timestamptz                -- from then on it is not renewed
);
CREATE INDEX subscriptions_of_account ON subscriptions (account_id, id);
CREATE INDEX subscriptions_to_renew ON subscriptions (ends_at) WHERE period IS NOT NULL AND cancelled_at IS NULL;
