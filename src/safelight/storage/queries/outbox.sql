-- name: add
INSERT INTO outbox (id, account_id, job_id) VALUES (gen_random_uuid(), %(account)s, %(job)s) RETURNING id

-- name: set_task
UPDATE outbox SET task_id = %(task)s WHERE id = %(id)s

-- name: open
SELECT o.id, o.account_id, o.job_id, o.attempt, a.webhook_secret FROM outbox o JOIN accounts a ON a.id = o.account_id
WHERE o.id = %(id)s AND o.task_id = %(task)s AND o.state = 'waiting'

-- name: posted
SELECT o.id, a.name AS account, o.job_id, o.state, o.attempt, o.last_status AS status, o.created_at, o.ended_at
FROM outbox o JOIN jobs j ON j.id = o.job_id JOIN accounts a ON a.id = o.account_id
WHERE (%(account)s::bigint IS NULL OR o.account_id = %(account)s) AND j.erased_at IS NULL AND o.job_id < %(before)s
  AND (%(id)s::uuid IS NULL OR o.id = %(id)s) AND (%(state)s::text IS NULL OR o.state = %(state)s)
ORDER BY o.job_id DESC LIMIT %(limit)s

-- name: replay
-- The job is held, so that it is not erased meanwhile.
WITH standing AS (
    SELECT j.id FROM jobs j JOIN outbox o ON o.job_id = j.id
    WHERE o.id = %(id)s AND j.erased_at IS NULL AND (%(account)s::bigint IS NULL OR o.account_id = %(account)s) FOR UPDATE OF j
)
UPDATE outbox o SET state = 'waiting', attempt = 0, ended_at = NULL FROM standing WHERE o.job_id = standing.id

-- name: end
UPDATE outbox SET state = %(state)s, attempt = attempt + 1, last_status = %(status)s, ended_at = now()
WHERE id = %(id)s AND state = 'waiting'

-- name: postpone
UPDATE outbox SET attempt = attempt + 1, last_status = %(status)s WHERE id = %(id)s AND state = 'waiting'

-- name: stranded
SELECT o.id, o.task_id FROM outbox o
LEFT JOIN procrastinate_jobs p ON p.id = o.task_id AND p.status IN ('todo', 'doing')
LEFT JOIN procrastinate_workers w ON w.id = p.worker_id
WHERE o.state = 'waiting' AND pg_postmaster_start_time() < now() - %(stalled)s * interval '1 second'
  AND (p.id IS NULL OR (p.status = 'doing'
    AND (w.id IS NULL OR w.last_heartbeat < now() - %(stalled)s * interval '1 second')))

-- name: take
SELECT id, task_id FROM outbox WHERE id = %(id)s AND task_id IS NOT DISTINCT FROM %(task)s AND state = 'waiting' FOR UPDATE
