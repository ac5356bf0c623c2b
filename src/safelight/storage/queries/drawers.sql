-- name: newest_id
SELECT last_value AS id FROM request_ids

-- name: attached
SELECT FROM pg_inherits WHERE inhparent = 'request_keys'::regclass AND inhrelid = to_regclass(%(name)s)
