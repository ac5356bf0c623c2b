-- Whom a crash may be blamed on. What was on board of one is tried again in halves, each apart from all others, until a culprit is
-- alone; what had not begun is not concerned.
CREATE SEQUENCE companies;
ALTER TABLE jobs
    ADD COLUMN worker  text,                           -- who holds it
    ADD COLUMN begun   boolean NOT NULL DEFAULT false, -- and not merely waits there
    ADD COLUMN company bigint,                         -- with whom it may be on board; NULL: with everybody who has none
    ADD COLUMN deaths  integer NOT NULL DEFAULT 0;     -- of workers that it was alone with
