-- name: done
WITH spans AS (
    SELECT generate_series(
        date_trunc(%(span)s, now(), 'UTC') - (%(count)s - 1) * ('1 ' || %(span)s)::interval, date_trunc(%(span)s, now(), 'UTC'),
        ('1 ' || %(span)s)::interval
    ) AS at
), work AS (
    SELECT date_trunc(%(span)s, u.at, 'UTC') AS at, count(*) AS jobs, sum(u.pictures)::bigint AS pictures, sum(u.seconds) AS seconds
    FROM (
        SELECT at, pictures, seconds FROM usage WHERE %(account)s::bigint IS NULL AND at >= (SELECT min(at) FROM spans)
        UNION ALL SELECT at, pictures, seconds FROM usage WHERE account_id = %(account)s AND at >= (SELECT min(at) FROM spans)
    ) u GROUP BY 1
)
SELECT s.at, coalesce(w.jobs, 0) AS jobs, coalesce(w.pictures, 0) AS pictures, coalesce(w.seconds, 0)::float AS seconds
FROM spans s LEFT JOIN work w ON w.at = s.at ORDER BY s.at

-- name: waiting
SELECT a.name AS account, count(*) FILTER (WHERE j.state = 'queued') AS waiting, count(*) FILTER (WHERE j.state = 'running') AS running,
    min(j.created_at) AS since
FROM jobs j JOIN accounts a ON a.id = j.account_id
WHERE j.state IN ('queued', 'running') GROUP BY a.name ORDER BY count(*) DESC, a.name LIMIT 50

-- name: failures
SELECT j.id, a.name AS account, j.task, coalesce(j.error, '') AS error, j.finished_at AS at
FROM jobs j JOIN accounts a ON a.id = j.account_id
WHERE j.state = 'failed' AND j.erased_at IS NULL ORDER BY j.finished_at DESC LIMIT %(limit)s
