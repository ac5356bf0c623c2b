-- Names of checkpoints that stand for others, as the operator gave them by command: patterns, the oldest first.
CREATE TABLE aliases (
    pattern    text PRIMARY KEY,
    model      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
