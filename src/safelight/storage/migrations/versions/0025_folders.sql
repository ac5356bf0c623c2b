-- Folders are installed too: the names and sizes of a folder's files, in the order in which their parts were stored. The names are of
-- a list of ours, not a caller's words.
ALTER TABLE models ADD COLUMN names text[], ADD COLUMN sizes bigint[];
