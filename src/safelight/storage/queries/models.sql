-- name: lock
SELECT pg_advisory_xact_lock(7013204, %(account)s::int)

-- name: begin
INSERT INTO models (job_id, account_id, name, kind, everybody)
VALUES (%(id)s, %(account)s, %(name)s, %(kind)s, %(everybody)s)

-- name: named
SELECT m.*, j.state, j.error, j.created_at FROM models m JOIN jobs j ON j.id = m.job_id
WHERE m.account_id = %(account)s AND m.name = %(name)s AND j.erased_at IS NULL

-- name: begun
SELECT count(*) AS models FROM models m JOIN jobs j ON j.id = m.job_id
WHERE m.account_id = %(account)s AND j.state IN ('queued', 'running')

-- name: visible
-- One's own first, whatever they have come to; of others' what is installed.
SELECT m.*, j.state, j.error, j.created_at FROM models m JOIN jobs j ON j.id = m.job_id
WHERE j.erased_at IS NULL AND (m.account_id = %(account)s OR (m.everybody AND j.state = 'succeeded'))
ORDER BY m.account_id <> %(account)s, m.job_id

-- name: usable
SELECT m.* FROM models m JOIN jobs j ON j.id = m.job_id
WHERE m.job_id = %(id)s AND j.state = 'succeeded' AND j.erased_at IS NULL
  AND (m.everybody OR %(account)s::bigint IS NULL OR m.account_id = %(account)s)

-- name: parts
SELECT request_id, blob_key, size, fence, sealed FROM assets
WHERE request_id = %(id)s AND kind = 'model' AND state = 'live' ORDER BY id

-- name: kept
SELECT coalesce(sum(size), 0)::bigint AS bytes FROM assets WHERE account_id = %(account)s AND kind = 'model' AND state = 'live'

-- name: count
SELECT count(*) AS places FROM models m JOIN jobs j ON j.id = m.job_id
WHERE m.account_id = %(account)s AND j.state = 'succeeded' AND j.erased_at IS NULL

-- name: list
UPDATE models SET names = %(names)s, sizes = %(sizes)s WHERE job_id = %(id)s

-- name: announce
SELECT pg_notify('safelight_installed', %(id)s::text)

-- name: forget
WITH gone AS (DELETE FROM models WHERE job_id = ANY (%(ids)s) RETURNING job_id)
INSERT INTO wipes (part) SELECT 'models' WHERE EXISTS (SELECT FROM gone)
ON CONFLICT (part) DO UPDATE SET last = excluded.last, at = excluded.at
