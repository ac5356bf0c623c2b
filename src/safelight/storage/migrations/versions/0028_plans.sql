-- It held what has no receipt as well, and so was taken for a way to rows by their ids: a hundred were found by reading all that waits.
DROP INDEX assets_of_receipt;
CREATE INDEX assets_of_receipt ON assets (receipt_id) WHERE state = 'deleting' AND receipt_id IS NOT NULL;

-- What the operator's page shows of failures was looked for among all jobs.
CREATE INDEX jobs_failed ON jobs (finished_at) WHERE state = 'failed' AND erased_at IS NULL;
