-- name: all_of
SELECT r.*, k.label, k.prefix FROM retentions r LEFT JOIN keys k ON k.id = r.key_id
WHERE r.account_id = %(account)s AND r.seconds IS NOT NULL AND (r.key_id = 0 OR k.revoked_at IS NULL)
ORDER BY r.key_id, r.set_by

-- name: limit
-- What is kept already hears of it from the first request on.
INSERT INTO retentions (account_id, key_id, set_by, seconds, walked) VALUES (%(account)s, %(key)s, %(set_by)s, %(seconds)s, 0)
ON CONFLICT (account_id, key_id, set_by) DO UPDATE SET seconds = excluded.seconds, walked = 0

-- name: lift
DELETE FROM retentions WHERE account_id = %(account)s AND key_id = %(key)s AND set_by = %(set_by)s

-- name: forget_all
DELETE FROM retentions WHERE account_id = %(account)s

-- name: to_walk
-- Past what another is at.
SELECT * FROM retentions
WHERE walked IS NOT NULL AND (%(account)s::bigint IS NULL OR account_id = %(account)s) LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: next_to_walk
SELECT max(id) AS last FROM (
    SELECT id FROM (
        (SELECT id FROM jobs WHERE account_id = %(account)s AND erased_at IS NULL AND id > %(after)s ORDER BY id LIMIT %(slice)s)
        UNION ALL
        (SELECT request_id FROM assets WHERE account_id = %(account)s AND kind = 'upload' AND state IN ('pending', 'live')
            AND request_id > %(after)s ORDER BY request_id LIMIT %(slice)s)
    ) kept ORDER BY id LIMIT %(slice)s
) part

-- name: shorten_jobs
-- Those that have not ended too: whoever ends one meanwhile finds it in the row.
UPDATE jobs SET lives = least(lives, %(seconds)s), expires_at = least(expires_at, finished_at + %(seconds)s * interval '1 second')
WHERE account_id = %(account)s AND erased_at IS NULL AND id > %(after)s AND id <= %(last)s
  AND task <> 'install_model' AND (%(key)s = 0 OR key_id = %(key)s) AND (lives IS NULL OR lives > %(seconds)s)

-- name: shorten_uploads
UPDATE assets SET expires_at = least(expires_at, created_at + %(seconds)s * interval '1 second')
WHERE account_id = %(account)s AND kind = 'upload' AND state IN ('pending', 'live') AND request_id > %(after)s AND request_id <= %(last)s
  AND (%(key)s = 0 OR key_id = %(key)s)

-- name: walked
UPDATE retentions SET walked = %(last)s WHERE account_id = %(account)s AND key_id = %(key)s AND set_by = %(set_by)s

-- name: due
-- By their own time, or by the house's; each is read in the order of what is due, so that nothing is read that stays.
SELECT account_id, array_agg(DISTINCT id) AS request_ids FROM (
    (SELECT account_id, id FROM jobs WHERE erased_at IS NULL AND expires_at < now() ORDER BY expires_at LIMIT %(slice)s)
    UNION ALL
    (SELECT account_id, id FROM jobs
     WHERE erased_at IS NULL AND task <> 'install_model' AND finished_at < now() - %(days)s * interval '1 day'
     ORDER BY finished_at LIMIT %(slice)s)
    UNION ALL
    (SELECT account_id, request_id FROM assets WHERE state = 'live' AND expires_at < now() ORDER BY expires_at LIMIT %(slice)s)
) due GROUP BY account_id
