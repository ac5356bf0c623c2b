-- What a job is for, so that a fresh entry finds its queue also where the request was erased.
ALTER TABLE jobs ADD COLUMN task text NOT NULL DEFAULT 'generate';
