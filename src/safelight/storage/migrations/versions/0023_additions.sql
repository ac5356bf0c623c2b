-- Checkpoints that an operator added while the server runs, beside those of its settings: where they lie, and what their cards want. Workers
-- know each by its number, so that what is remembered of one is not believed of the next of that name.
CREATE TABLE additions (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    path           text NOT NULL,
    family         text NOT NULL,
    steps          integer NOT NULL,
    guidance_scale double precision NOT NULL,
    added_at       timestamptz NOT NULL DEFAULT now()
);
