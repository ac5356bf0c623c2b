-- Each finds offenders; none may be found once things are quiet.

-- name: ends
SELECT j.id, j.state FROM jobs j LEFT JOIN procrastinate_jobs p ON p.id = j.task_id
WHERE (j.state = 'queued' AND (p.status IS NULL OR p.status NOT IN ('todo', 'doing')))
   OR (j.state = 'running' AND j.lease_until < now())
   OR (j.state IN ('succeeded', 'failed', 'cancelled') AND j.finished_at IS NULL)

-- name: requests
SELECT j.id FROM jobs j LEFT JOIN requests r ON r.job_id = j.id WHERE r.job_id IS NULL AND j.erased_at IS NULL

-- name: pictures
SELECT j.id FROM jobs j WHERE j.state = 'succeeded' AND j.erased_at IS NULL AND j.files <>
    (SELECT count(*) FROM assets a WHERE a.request_id = j.id AND a.kind IN ('output', 'text') AND a.state = 'live')

-- name: erased
SELECT a.id, a.state FROM assets a JOIN jobs j ON j.id = a.request_id
WHERE j.erased_at IS NOT NULL AND a.state IN ('pending', 'live')
UNION ALL SELECT job_id, 'text' FROM requests r JOIN jobs j ON j.id = r.job_id WHERE j.erased_at IS NOT NULL

-- name: keys
-- One without anything that it opens, or something sealed that nothing opens.
SELECT request_id AS id, 'key' AS odd FROM request_keys k
WHERE NOT sent AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = k.request_id AND j.erased_at IS NULL)
UNION ALL SELECT request_id, 'key of what was sent' FROM request_keys k
WHERE sent AND NOT EXISTS (SELECT FROM assets a WHERE a.request_id = k.request_id AND a.fence = 0 AND a.state IN ('pending', 'live'))
UNION ALL SELECT a.request_id, 'file' FROM assets a
WHERE a.state = 'live' AND a.sealed
  AND NOT EXISTS (SELECT FROM request_keys k WHERE k.request_id = a.request_id AND k.sent = (a.fence = 0))
  AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = a.request_id AND j.unstored)
UNION ALL SELECT r.job_id, 'request' FROM requests r
WHERE r.sealed IS NOT NULL AND NOT EXISTS (SELECT FROM request_keys k WHERE k.request_id = r.job_id AND NOT k.sent)
  AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = r.job_id AND j.unstored)

-- name: receipts
SELECT id FROM jobs WHERE erased_at IS NOT NULL AND receipt_id IS NULL

-- name: charges
SELECT coalesce(j.id, u.job_id) AS id FROM usage u FULL JOIN (SELECT id FROM jobs WHERE state = 'succeeded') j ON j.id = u.job_id
WHERE u.job_id IS NULL OR j.id IS NULL

-- name: webhooks
SELECT j.id FROM jobs j LEFT JOIN outbox o ON o.job_id = j.id
WHERE j.state IN ('succeeded', 'failed') AND j.erased_at IS NULL AND j.tells <> (o.id IS NOT NULL)

-- name: fences
SELECT id FROM jobs WHERE (attempt > 0 OR state IN ('running', 'succeeded')) AND fence = 0
UNION ALL SELECT max(id) FROM jobs WHERE fence > 0 GROUP BY fence HAVING count(*) > 1

-- name: counts
WITH counted AS (
    SELECT account_id, what, sum(amount) AS amount FROM (
        SELECT * FROM deltas UNION ALL SELECT 0, what, amount FROM deltas UNION ALL SELECT * FROM tallies) written GROUP BY account_id, what
), found AS (
    SELECT account_id, 'bytes' AS what, sum(size) AS amount FROM assets WHERE state = 'live' GROUP BY account_id
    UNION ALL SELECT account_id, state, count(*) FROM jobs WHERE state IN ('succeeded', 'failed', 'cancelled') GROUP BY account_id, state
), recounted AS (
    SELECT account_id, what, sum(amount) AS amount
    FROM (SELECT * FROM found UNION ALL SELECT 0, what, amount FROM found) both_ways GROUP BY account_id, what
)
SELECT account_id AS id, what, c.amount::bigint AS counted, r.amount::bigint AS recounted
FROM counted c FULL JOIN recounted r USING (account_id, what)
WHERE what IN ('bytes', 'succeeded', 'failed', 'cancelled') AND coalesce(c.amount, 0) <> coalesce(r.amount, 0)

-- name: books
-- Every transfer adds up to nothing, every wallet is what its entries say, and jobs hold a price only while they have not ended.
SELECT transfer AS id FROM entries GROUP BY transfer HAVING sum(amount) <> 0
UNION ALL
SELECT 'wallet ' || account_id FROM wallets w
FULL JOIN (SELECT account_id, coalesce(sum(amount) FILTER (WHERE book = 'wallet'), 0) AS available,
                  coalesce(sum(amount) FILTER (WHERE book = 'held'), 0) AS held FROM entries GROUP BY account_id) e USING (account_id)
WHERE coalesce(w.available, 0) <> coalesce(e.available, 0) OR coalesce(w.held, 0) <> coalesce(e.held, 0)
UNION ALL
SELECT 'job ' || h.job_id FROM holds h LEFT JOIN jobs j ON j.id = h.job_id
WHERE CASE h.state WHEN 'held' THEN coalesce(j.state NOT IN ('queued', 'running'), true)
                   WHEN 'captured' THEN j.state <> 'succeeded' ELSE j.state NOT IN ('failed', 'cancelled') END
