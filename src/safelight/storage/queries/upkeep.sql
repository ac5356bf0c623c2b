-- name: take_turn
-- One process at a time, for so long; a lock would stay with a process that stands still.
INSERT INTO turns (name, until) VALUES (%(name)s, now() + %(seconds)s * interval '1 second')
ON CONFLICT (name) DO UPDATE SET until = excluded.until WHERE turns.until < now()

-- name: wipes
-- A part can be written anew without its dead rows only when nobody still sees them.
SELECT part, last FROM wipes w
WHERE NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
    AND a.backend_xmin IS NOT NULL AND age(a.backend_xmin) >= age(w.last::xid))

-- name: wiped
DELETE FROM wipes WHERE part = %(part)s AND last = %(last)s

-- name: end_tasks
UPDATE procrastinate_jobs SET status = 'failed' WHERE id = ANY (%(ids)s) AND status IN ('todo', 'doing')

-- name: forget_tasks
DELETE FROM procrastinate_jobs WHERE id IN (
    SELECT p.id FROM procrastinate_jobs p
    WHERE (p.status IN ('succeeded', 'failed', 'cancelled', 'aborted') OR (p.status = 'doing' AND p.worker_id IS NULL))
      AND NOT EXISTS (SELECT FROM procrastinate_events e WHERE e.job_id = p.id AND e.at > now() - interval '1 hour')
    LIMIT 5000)

-- name: switch_log
SELECT pg_switch_wal()

-- name: checkpoint
CHECKPOINT

-- name: be_modest
-- Whoever waits for a table keeps all others waiting behind: better to come again.
SET lock_timeout = '500ms'

-- name: be_patient
RESET lock_timeout
