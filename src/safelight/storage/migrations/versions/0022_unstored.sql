-- Answered and not stored: the key under which it is sealed meanwhile is in the memory of processes and in no table.
ALTER TABLE jobs ADD COLUMN unstored boolean NOT NULL DEFAULT false;

-- Whether what is asked for may be stored.
ALTER TABLE accounts ADD COLUMN stores boolean NOT NULL DEFAULT true;
ALTER TABLE keys ADD COLUMN stores boolean NOT NULL DEFAULT true;
