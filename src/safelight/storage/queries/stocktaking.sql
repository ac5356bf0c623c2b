-- name: rows
SELECT blob_key, size, state = 'live' AND created_at < now() - %(settled)s::interval AS owed FROM assets
WHERE state <> 'gone' AND blob_key > %(after)s AND (%(upto)s::text IS NULL OR blob_key <= %(upto)s)
ORDER BY blob_key LIMIT %(limit)s

-- name: known
SELECT blob_key, state FROM assets WHERE blob_key = ANY (%(blob_keys)s)

-- name: begin
INSERT INTO stocktakings (mark) VALUES (%(mark)s) ON CONFLICT (one) DO UPDATE SET number = stocktakings.number + 1
RETURNING mark, number

-- name: report
INSERT INTO strays (blob_key, number) SELECT unnest(%(blob_keys)s::text[]), %(number)s
ON CONFLICT (blob_key) DO UPDATE SET number = excluded.number

-- name: due
-- Those that were seen again this time, long enough after they were first, and of which there is no row still.
SELECT blob_key FROM strays s
WHERE number = %(number)s AND found_at <= now() - %(days)s * interval '1 day'
  AND NOT EXISTS (SELECT FROM assets a WHERE a.blob_key = s.blob_key)

-- name: forget
DELETE FROM strays WHERE blob_key = %(blob_key)s

-- name: end
WITH away AS (DELETE FROM strays WHERE number < (SELECT number FROM stocktakings))
UPDATE stocktakings SET at = now(), files = %(files)s, lost = %(lost)s, removed = removed + %(removed)s, others = %(others)s

-- name: last
SELECT at, files, (SELECT count(*) FROM strays) AS strays, lost, removed, others FROM stocktakings WHERE at IS NOT NULL
