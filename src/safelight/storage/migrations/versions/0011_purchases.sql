-- Real money that the operator's hook is asked to charge. A row stands before it is asked; the same id is told at every attempt.
CREATE TABLE charges (
    id         uuid PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES accounts,
    amount     bigint NOT NULL CHECK (amount > 0),
    purpose    text NOT NULL,
    state      text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'paid', 'declined')),
    attempt    integer NOT NULL DEFAULT 0,
    asked_at   timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
CREATE INDEX charges_unknown ON charges (asked_at) WHERE state = 'asked';

ALTER TABLE wallets ADD COLUMN models integer NOT NULL DEFAULT 0; -- bought with buy_model
