-- name: notify
SELECT pg_notify(%(channel)s, %(payload)s)

-- name: standing
-- Of jobs that have not ended: how far, their place among those that wait, and the cost of what must be done until they are.
WITH active AS (
    SELECT id, state, attempt, step, steps, rank, cost * (1 - least(step, steps)::float / greatest(steps, 1)) AS cost_left
    FROM jobs WHERE state IN ('queued', 'running')
), running AS (
    SELECT coalesce(sum(cost_left), 0) AS cost FROM active WHERE state = 'running'
), waiting AS (
    SELECT id, row_number() OVER (ORDER BY rank, id) AS place, sum(cost_left) OVER (ORDER BY rank, id) AS cost
    FROM active WHERE state = 'queued'
)
SELECT a.id, a.state, a.attempt, a.step, a.steps, coalesce(w.place, 0)::int AS place, r.cost + coalesce(w.cost, 0) AS cost
FROM active a CROSS JOIN running r LEFT JOIN waiting w ON w.id = a.id WHERE a.id = ANY (%(ids)s)

-- name: shown
-- Whether a preview of this job may still be shown.
SELECT EXISTS (SELECT FROM jobs WHERE id = %(id)s AND state = 'running' AND erased_at IS NULL) AS found
