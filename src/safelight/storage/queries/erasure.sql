-- name: lock_jobs
SELECT j.id, j.account_id, j.receipt_id, j.file_prefix AS name
FROM jobs j JOIN unnest(%(accounts)s::bigint[], %(ids)s::bigint[]) AS asked (account, id) ON j.id = asked.id AND j.account_id = asked.account
ORDER BY j.id FOR UPDATE OF j

-- name: lock_uploads
SELECT a.request_id AS id, a.account_id, a.receipt_id, a.name
FROM assets a JOIN unnest(%(accounts)s::bigint[], %(ids)s::bigint[]) AS asked (account, id) ON a.request_id = asked.id AND a.account_id = asked.account
WHERE a.kind = 'upload' ORDER BY a.id FOR UPDATE OF a

-- name: add_receipt
-- One that the log of deletions tells of may be here already, or its key may not be.
INSERT INTO receipts (id, account_id, key_id, scope, request_ids, requested_at)
VALUES (%(id)s, %(account)s, (SELECT id FROM keys WHERE id = %(key)s), %(scope)s, %(ids)s, coalesce(%(at)s, now()))
ON CONFLICT (id) DO UPDATE SET verified_at = NULL,
    request_ids = ARRAY(SELECT DISTINCT unnest(receipts.request_ids || excluded.request_ids) ORDER BY 1) RETURNING requested_at

-- name: bury_jobs
UPDATE jobs j SET erased_at = now(), receipt_id = doomed.receipt, error = NULL, nsfw = '{}', model = NULL, lease_until = NULL,
    finished_at = coalesce(finished_at, now()),
    state = CASE WHEN state IN ('queued', 'running') THEN 'cancelled' ELSE state END
FROM unnest(%(ids)s::bigint[], %(receipts)s::uuid[]) AS doomed (id, receipt)
WHERE j.id = doomed.id AND erased_at IS NULL

-- name: cancel_tasks
UPDATE procrastinate_jobs SET status = 'cancelled'
WHERE id IN (SELECT task_id FROM jobs WHERE id = ANY (%(ids)s)) AND status = 'todo'

-- name: purge_text
WITH purged AS (
    DELETE FROM requests WHERE job_id = ANY (%(ids)s) RETURNING tableoid::regclass::text AS part, body IS NOT NULL AS in_the_clear
)
INSERT INTO wipes (part) SELECT DISTINCT part FROM purged WHERE in_the_clear
ON CONFLICT (part) DO UPDATE SET last = excluded.last, at = excluded.at

-- name: cancel_webhooks
-- Of those that were sent, nothing that their receivers said stays either.
UPDATE outbox SET state = CASE state WHEN 'waiting' THEN 'cancelled' ELSE state END, ended_at = coalesce(ended_at, now()),
    last_status = NULL
WHERE job_id = ANY (%(ids)s)

-- name: bury_assets
WITH buried AS (
    UPDATE assets a SET state = 'deleting', sha256 = NULL, receipt_id = doomed.receipt,
        settles_at = CASE WHEN a.state = 'pending' THEN now() + %(settle)s * interval '1 second' END
    FROM unnest(%(ids)s::bigint[], %(receipts)s::uuid[], %(accounts)s::bigint[]) AS doomed (id, receipt, account)
    WHERE a.request_id = doomed.id AND a.account_id = doomed.account
      AND (state IN ('pending', 'live') OR (state = 'deleting' AND receipt_id IS NULL))
    RETURNING a.receipt_id, a.size
)
UPDATE receipts r SET assets = assets + b.number, bytes = r.bytes + b.bytes
FROM (SELECT receipt_id, count(*) AS number, coalesce(sum(size), 0) AS bytes FROM buried GROUP BY receipt_id) b
WHERE r.id = b.receipt_id

-- name: announce
-- Without an id: something of the account's is gone.
SELECT pg_notify('safelight_erased', account::text || ':' || coalesce(id::text, ''))
FROM unnest(%(accounts)s::bigint[], %(ids)s::bigint[]) AS buried (account, id)

-- name: cached
-- What is kept only to be used again: temporary uploads, and the inputs of jobs that have ended. Their jobs are looked up one by
-- one (OFFSET 0 sees to it): however many an account may have, a plan must not read all jobs there are.
SELECT a.id, a.request_id, coalesce(w.file_prefix, a.name) AS name
FROM assets a LEFT JOIN LATERAL (SELECT file_prefix, state FROM jobs WHERE id = a.request_id OFFSET 0) w ON true
WHERE a.account_id = %(account)s AND a.state = 'live'
  AND (a.kind IN ('init_image', 'mask_image', 'control_image', 'second_control_image', 'third_control_image') OR (a.kind = 'upload' AND a.temp))
  AND w.state IS DISTINCT FROM 'queued' AND w.state IS DISTINCT FROM 'running'

-- name: drop_inputs_later
UPDATE jobs SET drop_inputs = true
WHERE account_id = %(account)s AND state IN ('queued', 'running') AND (%(ids)s::bigint[] IS NULL OR id = ANY (%(ids)s))
  AND NOT drop_inputs
RETURNING id AS request_id, file_prefix AS name

-- name: sent_files
-- Of requests whose cache was cleared, and which are not being worked on.
SELECT a.id, a.request_id, coalesce(w.file_prefix, a.name) AS name FROM assets a LEFT JOIN jobs w ON w.id = a.request_id
WHERE a.account_id = %(account)s AND a.request_id = ANY (%(ids)s) AND a.state = 'live' AND a.kind IN ('init_image', 'mask_image', 'control_image', 'second_control_image', 'third_control_image', 'upload')
  AND w.state IS DISTINCT FROM 'queued' AND w.state IS DISTINCT FROM 'running'

-- name: standing
-- Of these requests, those of which anything may be left.
SELECT id FROM jobs WHERE id = ANY (%(ids)s) AND erased_at IS NULL
UNION SELECT request_id FROM assets WHERE request_id = ANY (%(ids)s) AND state IN ('pending', 'live')

-- name: bury_cached
WITH buried AS (
    UPDATE assets SET state = 'deleting', sha256 = NULL, receipt_id = %(receipt)s
    WHERE id = ANY (%(ids)s) AND state = 'live' RETURNING size
)
UPDATE receipts SET assets = assets + (SELECT count(*) FROM buried), bytes = bytes + (SELECT coalesce(sum(size), 0) FROM buried)
WHERE id = %(receipt)s

-- name: jobs_with_outputs
SELECT id FROM jobs WHERE account_id = %(account)s AND erased_at IS NULL AND task <> 'install_model' ORDER BY id

-- name: receipt
SELECT r.*, (SELECT count(*) FROM erasing WHERE receipt_id = r.id) AS left
FROM receipts r JOIN unnest(%(accounts)s::bigint[], %(ids)s::uuid[]) AS asked (account, id) ON r.id = asked.id AND r.account_id = asked.account

-- name: receipts
SELECT *, (SELECT count(*) FROM erasing WHERE receipt_id = receipts.id) AS left FROM receipts
WHERE account_id = %(account)s AND (%(before)s::uuid IS NULL
    OR (requested_at, id) < (SELECT requested_at, id FROM receipts WHERE id = %(before)s AND account_id = %(account)s))
ORDER BY requested_at DESC, id DESC LIMIT %(limit)s

-- name: verify
-- Verified once no byte, and no text in the files of the database, is left of what it covers: some receipts, or all.
UPDATE receipts r SET verified_at = now()
WHERE r.verified_at IS NULL AND (%(receipts)s::uuid[] IS NULL OR r.id = ANY (%(receipts)s))
  AND NOT EXISTS (SELECT FROM assets a WHERE a.receipt_id = r.id AND a.state = 'deleting')
  AND NOT EXISTS (SELECT FROM erasing e WHERE e.receipt_id = r.id)
  AND NOT EXISTS (SELECT FROM wipes w WHERE w.at >= r.requested_at)

-- name: logs
SELECT * FROM deletion_logs ORDER BY seen_at DESC

-- name: know_log
INSERT INTO deletion_logs (id, host, path, begun, hash) VALUES (%(id)s, %(host)s, %(path)s, %(begun)s, %(hash)s)
ON CONFLICT (id) DO UPDATE SET host = excluded.host, path = excluded.path, seen_at = now()
RETURNING *

-- name: read_log
UPDATE deletion_logs SET bytes = %(bytes)s, lines = %(lines)s, hash = %(hash)s, seen_at = now()
WHERE id = %(id)s AND bytes <= %(bytes)s
