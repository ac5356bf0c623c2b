-- Requests that a receipt is to cover and that have not had their turn: large erasures go slice by slice, each a transaction.
CREATE TABLE erasing (
    receipt_id uuid   NOT NULL REFERENCES receipts,
    request_id bigint NOT NULL,
    PRIMARY KEY (receipt_id, request_id)
);
CREATE INDEX receipts_of_account ON receipts (account_id, requested_at, id);

-- An account that was erased keeps its row, without a name and with nothing that opens it: receipts and books refer to it.
ALTER TABLE accounts ADD COLUMN erased_at timestamptz;
