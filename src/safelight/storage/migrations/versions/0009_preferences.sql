-- What an account wants where its requests say nothing, by dialect: names and numbers, no text of requests.
CREATE TABLE preferences (
    account_id bigint NOT NULL REFERENCES accounts,
    dialect    text NOT NULL,
    body       jsonb NOT NULL,
    PRIMARY KEY (account_id, dialect)
);
