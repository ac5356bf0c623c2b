-- name: next_id
SELECT nextval('request_ids') AS id

-- name: room
SELECT count(*) AS total, count(*) FILTER (WHERE account_id = %(account)s) AS mine,
    (SELECT most_jobs FROM accounts WHERE id = %(account)s) AS most
FROM jobs WHERE state IN ('queued', 'running')

-- name: lock_room
SELECT pg_advisory_xact_lock(7013202)

-- name: accept
INSERT INTO jobs (id, account_id, key_id, task, file_prefix, rank, cost, steps, files, tells, lives, unstored)
VALUES (%(id)s, %(account)s, %(key)s, %(task)s, %(file_prefix)s, %(rank)s, %(cost)s, %(steps)s, %(files)s, %(tells)s, %(lives)s, %(unstored)s)

-- name: keep_request
INSERT INTO requests (job_id, sealed) VALUES (%(id)s, %(sealed)s)

-- name: enqueue
UPDATE jobs SET task_id = %(entry)s, state = 'queued', lease_until = NULL, step = 0, worker = NULL, begun = false WHERE id = %(id)s

-- name: get
SELECT j.*, r.body, r.sealed,
       (SELECT count(*) FROM assets a WHERE a.request_id = j.id AND a.kind = 'output' AND a.state = 'live') AS outputs
FROM unnest(%(ids)s::bigint[], %(accounts)s::bigint[]) AS asked (id, account)
JOIN jobs j ON j.id = asked.id AND j.account_id = asked.account
LEFT JOIN LATERAL (SELECT body, sealed FROM requests WHERE job_id = asked.id OFFSET 0) r ON true
WHERE j.erased_at IS NULL AND (j.expires_at IS NULL OR j.expires_at > now())

-- name: page
SELECT j.*, r.body, r.sealed,
       (SELECT count(*) FROM assets a WHERE a.request_id = j.id AND a.kind = 'output' AND a.state = 'live') AS outputs
FROM jobs j LEFT JOIN requests r ON r.job_id = j.id
WHERE j.account_id = %(account)s AND j.id < %(before)s AND j.erased_at IS NULL AND (j.expires_at IS NULL OR j.expires_at > now())
  AND (%(states)s::text[] IS NULL OR j.state = ANY (%(states)s))
  AND (%(task)s::text IS NULL OR j.task = %(task)s)
  AND (%(model)s::text IS NULL OR j.model = %(model)s)
  AND (%(since)s::timestamptz IS NULL OR j.created_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR j.created_at < %(until)s)
ORDER BY j.id DESC LIMIT %(limit)s

-- name: made
-- A page is found among the outputs, by an index alone; its jobs are read only then.
WITH page AS (
    SELECT DISTINCT request_id FROM assets WHERE account_id = %(account)s AND kind = 'output' AND state = 'live'
    ORDER BY request_id DESC OFFSET %(skip)s LIMIT %(limit)s
)
SELECT j.*, r.body, r.sealed,
       (SELECT count(*) FROM assets a WHERE a.request_id = j.id AND a.kind = 'output' AND a.state = 'live') AS outputs
FROM page JOIN jobs j ON j.id = page.request_id LEFT JOIN requests r ON r.job_id = j.id
WHERE j.account_id = %(account)s AND j.state = 'succeeded' AND j.erased_at IS NULL AND (j.expires_at IS NULL OR j.expires_at > now())
ORDER BY j.id DESC

-- name: count_made
SELECT count(DISTINCT request_id) AS jobs FROM assets
WHERE account_id = %(account)s AND state = 'live' AND kind = 'output'

-- name: by_prefix
SELECT id FROM jobs WHERE file_prefix = %(file_prefix)s AND account_id = %(account)s

-- name: load
SELECT count(*) FILTER (WHERE state = 'queued') AS queued, count(*) FILTER (WHERE state = 'running') AS running,
       coalesce(sum(cost * (1 - least(step, steps)::float / greatest(steps, 1))), 0) AS cost,
       (SELECT cost_per_second FROM pace) AS cost_per_second
FROM jobs WHERE state IN ('queued', 'running')

-- name: cost_until
SELECT coalesce(sum(j.cost * (1 - least(j.step, j.steps)::float / greatest(j.steps, 1))), 0) AS cost,
       (SELECT cost_per_second FROM pace) AS cost_per_second
FROM jobs j, (SELECT rank, id FROM jobs WHERE id = %(id)s) me
WHERE j.state IN ('queued', 'running') AND (j.state = 'running' OR (j.rank, j.id) <= (me.rank, me.id))

-- name: speed
SELECT cost_per_second FROM pace

-- name: claim
UPDATE jobs SET state = 'running', attempt = attempt + 1, fence = nextval('fences'), step = 0,
    started_at = coalesce(started_at, now()), lease_until = now() + %(lease)s * interval '1 second', worker = %(worker)s,
    begun = CASE %(welcome)s::text WHEN 'anybody' THEN true WHEN 'nobody' THEN false
        ELSE coalesce(company::text, 'free') = %(welcome)s END
WHERE id = %(id)s AND task_id = %(entry)s AND state = 'queued' AND erased_at IS NULL
RETURNING *, (SELECT body FROM requests WHERE job_id = %(id)s) AS body,
    (SELECT sealed FROM requests WHERE job_id = %(id)s) AS sealed

-- name: waiting_text
SELECT j.id, j.unstored, r.sealed, r.body FROM jobs j JOIN requests r ON r.job_id = j.id
WHERE j.id = %(id)s AND j.task_id = %(entry)s AND j.state = 'queued' AND j.erased_at IS NULL

-- name: offer
SELECT pg_notify(%(channel)s, %(told)s)

-- name: begin
UPDATE jobs SET begun = true WHERE id = %(id)s AND fence = %(fence)s AND state = 'running' AND erased_at IS NULL

-- name: of_worker
SELECT id, fence, task, rank, task_id, begun, deaths FROM jobs
WHERE worker = %(worker)s AND state = 'running' AND erased_at IS NULL ORDER BY id FOR UPDATE

-- name: fetched
-- Taken from the queue by somebody who has not claimed them yet. Those that are being claimed or erased just now are left alone.
SELECT j.id, j.task, j.rank, j.task_id FROM jobs j JOIN procrastinate_jobs p ON p.id = j.task_id
WHERE j.state = 'queued' AND p.status = 'doing' ORDER BY j.id FOR UPDATE OF j SKIP LOCKED

-- name: suspect
UPDATE jobs SET company = c.number, deaths = deaths + %(alone)s::int
FROM (SELECT nextval('companies') AS number OFFSET 0) c WHERE id = ANY (%(ids)s)

-- name: count_retry
INSERT INTO deltas SELECT account_id, 'retry ' || %(why)s::text, 1 FROM jobs WHERE id = %(id)s

-- name: pulse
-- In the order of their ids, as by those who erase and those who free a dead worker's: its last pulse may still be at work then.
WITH held AS (
    SELECT j.id, told.step
    FROM jobs j JOIN unnest(%(ids)s::bigint[], %(fences)s::bigint[], %(steps)s::int[]) AS told (id, fence, step) USING (id, fence)
    WHERE j.state = 'running' AND j.erased_at IS NULL ORDER BY j.id FOR UPDATE OF j
)
UPDATE jobs j SET step = held.step, lease_until = now() + %(lease)s * interval '1 second'
FROM held WHERE j.id = held.id RETURNING j.fence

-- name: hold
SELECT id FROM jobs WHERE id = %(id)s AND fence = %(fence)s AND state = 'running' AND erased_at IS NULL FOR UPDATE

-- name: succeed
UPDATE jobs SET state = 'succeeded', finished_at = now(), lease_until = NULL, step = %(steps)s, steps = %(steps)s,
    seconds = %(seconds)s, model = %(model)s, nsfw = %(nsfw)s, native_width = %(width)s, native_height = %(height)s,
    expires_at = CASE WHEN task <> 'install_model' THEN now() + lifetime(account_id, key_id, least(lives, %(lives)s)) * interval '1 second' END
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running' AND erased_at IS NULL
RETURNING account_id, cost, drop_inputs

-- name: succeeded_by
SELECT EXISTS (SELECT FROM jobs WHERE id = %(id)s AND fence = %(fence)s AND state = 'succeeded') AS found

-- name: fail
UPDATE jobs SET state = 'failed', finished_at = now(), lease_until = NULL, error = %(error)s,
    expires_at = CASE WHEN task <> 'install_model' THEN now() + lifetime(account_id, key_id, lives) * interval '1 second' END
WHERE id = %(id)s AND fence = %(fence)s AND state IN ('queued', 'running') AND erased_at IS NULL
RETURNING account_id, drop_inputs

-- name: waiting
SELECT id, fence FROM jobs WHERE state = 'queued' ORDER BY id

-- name: of_revoked_keys
SELECT j.id, j.fence FROM jobs j JOIN keys k ON k.id = j.key_id
WHERE j.state IN ('queued', 'running') AND k.revoked_at IS NOT NULL ORDER BY j.id

-- name: restart_workers
SELECT pg_notify(%(channel)s, 'now')

-- name: hand_back
UPDATE jobs SET attempt = attempt - 1
WHERE id = %(id)s AND fence = %(fence)s AND state = 'running' AND erased_at IS NULL
RETURNING task, rank

-- name: record_usage
INSERT INTO usage (job_id, account_id, pictures, cost, seconds)
VALUES (%(id)s, %(account)s, %(pictures)s, %(cost)s, %(seconds)s)

-- name: wants_webhook
SELECT tells FROM jobs WHERE id = %(id)s

-- name: announce
SELECT pg_notify('safelight_done', id::text) FROM unnest(%(ids)s::bigint[]) AS done (id)

-- name: stranded
-- Running without a live lease, or waiting for a queue entry that nobody will ever take. A database that has just come
-- back gives its workers the time to say that they are alive.
SELECT j.id, j.task_id
FROM jobs j
LEFT JOIN procrastinate_jobs p ON p.id = j.task_id AND p.status IN ('todo', 'doing')
LEFT JOIN procrastinate_workers w ON w.id = p.worker_id
WHERE j.erased_at IS NULL
  AND pg_postmaster_start_time() < now() - %(stalled)s * interval '1 second'
  AND ((j.state = 'running' AND j.lease_until < now())
    OR (j.state = 'queued' AND (p.id IS NULL OR (p.status = 'doing'
        AND (w.id IS NULL OR w.last_heartbeat < now() - %(stalled)s * interval '1 second')))))

-- name: take_stranded
SELECT id, fence, attempt, task, rank, task_id FROM jobs
WHERE id = %(id)s AND task_id IS NOT DISTINCT FROM %(task)s AND erased_at IS NULL
  AND ((state = 'running' AND lease_until < now()) OR state = 'queued')
FOR UPDATE

-- name: statistics
SELECT
    (SELECT count(*) FROM jobs WHERE state = 'queued') AS waiting,
    (SELECT count(*) FROM jobs WHERE state = 'running') AS running,
    (SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float FROM jobs WHERE state = 'queued') AS oldest_wait,
    (SELECT count(*) FROM outbox WHERE state = 'waiting') AS webhooks_waiting,
    (SELECT count(*) FROM receipts WHERE verified_at IS NULL) AS erasures_unverified,
    (SELECT count(*) FROM strays) AS strays,
    coalesce(max(s.lost), 0) AS lost,
    coalesce(max(s.removed), 0) AS strays_removed,
    coalesce(extract(epoch FROM max(s.at)), 0)::float AS stock_taken_at
FROM stocktakings s

-- name: nodes
SELECT name, step_seconds, rows_per_tick, rows_waiting, device, memory_used, memory_free, memory_total, checkpoints FROM nodes
WHERE seen_at > now() - %(stalled)s * interval '1 second' ORDER BY name

-- name: node_pulse
INSERT INTO nodes (name, seconds_per_cost, step_seconds, rows_per_tick, rows_waiting, device, memory_used, memory_free, memory_total,
    checkpoints)
VALUES (%(name)s, %(seconds_per_cost)s, %(step_seconds)s, %(rows_per_tick)s, %(rows_waiting)s, %(device)s, %(memory_used)s,
    %(memory_free)s, %(memory_total)s, %(checkpoints)s)
ON CONFLICT (name) DO UPDATE SET
    seconds_per_cost = coalesce(excluded.seconds_per_cost, nodes.seconds_per_cost), step_seconds = excluded.step_seconds,
    rows_per_tick = excluded.rows_per_tick, rows_waiting = excluded.rows_waiting, device = excluded.device,
    memory_used = excluded.memory_used, memory_free = excluded.memory_free, memory_total = excluded.memory_total,
    checkpoints = excluded.checkpoints, seen_at = now()

-- name: forget_nodes
DELETE FROM nodes WHERE seen_at < now() - interval '30 days'
