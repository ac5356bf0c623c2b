-- name: claim
-- Waits for a transaction that claims the same key at this moment.
INSERT INTO once (account_id, key, request, job_id) VALUES (%(account)s, %(key)s, %(request)s, %(job)s)
ON CONFLICT DO NOTHING

-- name: find
SELECT request, job_id FROM once WHERE account_id = %(account)s AND key = %(key)s

-- name: forget
DELETE FROM once WHERE created_at < now() - interval '1 day'

-- name: forget_all
DELETE FROM once WHERE account_id = %(account)s
