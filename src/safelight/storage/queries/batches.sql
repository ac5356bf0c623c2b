-- name: weigh
SELECT cardinality(%(ids)s::bigint[]) AS requests, count(*) AS assets, coalesce(sum(size), 0) AS bytes FROM assets
WHERE account_id = %(account)s AND request_id = ANY (%(ids)s) AND state IN ('pending', 'live')

-- name: own
SELECT id FROM jobs WHERE account_id = %(account)s AND id = ANY (%(ids)s)
UNION SELECT request_id FROM assets WHERE account_id = %(account)s AND request_id = ANY (%(ids)s) AND kind = 'upload'

-- name: generations
SELECT j.id, j.unstored, r.sealed, r.body FROM jobs j LEFT JOIN requests r ON r.job_id = j.id
WHERE j.account_id = %(account)s AND j.id > %(after)s AND j.erased_at IS NULL
  AND (%(until)s::timestamptz IS NULL OR j.created_at < %(until)s)
ORDER BY j.id LIMIT %(limit)s

-- name: uploads
SELECT DISTINCT request_id AS id FROM assets
WHERE account_id = %(account)s AND kind = 'upload' AND state IN ('pending', 'live') AND receipt_id IS NULL
  AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s) ORDER BY 1

-- name: write_down
INSERT INTO erasing (receipt_id, request_id) SELECT %(receipt)s, unnest(%(ids)s::bigint[]) ON CONFLICT DO NOTHING

-- name: take
-- Past what another is at.
WITH mine AS (
    SELECT receipt_id, request_id FROM erasing
    WHERE receipt_id = %(receipt)s ORDER BY request_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
DELETE FROM erasing e USING mine WHERE e.receipt_id = mine.receipt_id AND e.request_id = mine.request_id
RETURNING e.request_id

-- name: receipt
SELECT * FROM receipts WHERE id = %(id)s

-- name: unfinished
SELECT DISTINCT receipt_id AS id FROM erasing
