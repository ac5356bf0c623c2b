-- name: add
INSERT INTO outbox (id, account_id, job_id) VALUES (gen_random_uuid(), %(account)s, %(job)s) RETURNING id

-- name: set_task
UPDATE outbox SET task_id = %(task)s WHERE id = %(id)s

-- name: open
SELECT o.id, o.account_id, o.job_id, o.attempt, a.webhook_secret FROM outbox o JOIN accounts a ON a.id = o.account_id
WHERE o.id = %(id)s AND o.task_id = %(task)s AND o.state = 'waiting'

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
