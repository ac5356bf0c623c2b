-- name: keep
-- Not under a master key that is being retired: whoever holds one has to look for the new.
INSERT INTO request_keys (request_id, sent, master, wrapped)
SELECT %(id)s, %(sent)s, %(master)s, %(wrapped)s
WHERE EXISTS (SELECT FROM masters WHERE mark = %(master)s AND retired IS NULL)

-- name: find
SELECT request_id, master, wrapped FROM request_keys WHERE request_id = ANY (%(ids)s) AND sent = %(sent)s

-- name: forget
WITH gone AS (
    DELETE FROM request_keys WHERE request_id = ANY (%(ids)s) AND (sent OR NOT %(sent_only)s)
    RETURNING tableoid::regclass::text AS part
)
INSERT INTO wipes (part) SELECT DISTINCT part FROM gone
ON CONFLICT (part) DO UPDATE SET last = excluded.last, at = excluded.at

-- name: forget_unused
-- Of requests that came to nothing.
WITH gone AS (
    DELETE FROM request_keys k WHERE k.request_id = ANY (%(ids)s)
      AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = k.request_id)
      AND NOT EXISTS (SELECT FROM assets a WHERE a.request_id = k.request_id AND a.state IN ('pending', 'live'))
    RETURNING tableoid::regclass::text AS part
)
INSERT INTO wipes (part) SELECT DISTINCT part FROM gone
ON CONFLICT (part) DO UPDATE SET last = excluded.last, at = excluded.at

-- name: lock_masters
SELECT pg_advisory_xact_lock(7013203)

-- name: masters
SELECT mark FROM masters

-- name: know_master
INSERT INTO masters (mark) VALUES (%(mark)s) ON CONFLICT DO NOTHING

-- name: retire_masters
UPDATE masters SET retired = pg_current_xact_id() WHERE mark <> %(mark)s AND retired IS NULL

-- name: drop_masters
-- Not while somebody is at work who began before it was retired, and may yet wrap a key under it.
DELETE FROM masters m WHERE retired < pg_snapshot_xmin(pg_current_snapshot())
  AND NOT EXISTS (SELECT FROM request_keys k WHERE k.master = m.mark)

-- name: to_rewrap
SELECT count(*) AS keys FROM request_keys WHERE master <> %(mark)s

-- name: next_to_rewrap
SELECT request_id, sent, master, wrapped FROM request_keys
WHERE master <> %(mark)s AND request_id >= %(after)s ORDER BY request_id, sent LIMIT 500 FOR UPDATE

-- name: rewrap
UPDATE request_keys k SET master = %(mark)s, wrapped = fresh.wrapped
FROM unnest(%(ids)s::bigint[], %(sents)s::boolean[], %(wrapped)s::bytea[]) AS fresh (id, sent, wrapped)
WHERE k.request_id = fresh.id AND k.sent = fresh.sent AND k.request_id = ANY (%(ids)s)

-- name: unsealed_requests
-- Their jobs are locked first, as by those who erase.
SELECT j.id FROM jobs j
WHERE j.erased_at IS NULL AND j.id IN (SELECT job_id FROM requests WHERE body IS NOT NULL LIMIT 100) FOR UPDATE OF j SKIP LOCKED

-- name: unsealed_bodies
SELECT job_id, body FROM requests WHERE job_id = ANY (%(ids)s) AND body IS NOT NULL

-- name: seal_request
UPDATE requests SET sealed = %(sealed)s, body = NULL WHERE job_id = %(id)s

-- name: unsealed_assets
SELECT id FROM assets WHERE state = 'live' AND NOT sealed ORDER BY id LIMIT 20

-- name: lock_unsealed_asset
SELECT * FROM assets WHERE id = %(id)s AND state = 'live' AND NOT sealed FOR UPDATE

-- name: intend_sealed
INSERT INTO assets (account_id, request_id, kind, name, blob_key, fence, size, expires_at, sealed, key_id, temp)
SELECT account_id, request_id, kind, name, %(blob_key)s, fence, %(size)s, expires_at, true, key_id, temp FROM assets WHERE id = %(id)s

-- name: give_way
UPDATE assets SET state = 'deleting', sha256 = NULL WHERE id = %(id)s AND state = 'live' RETURNING created_at

-- name: take_place
UPDATE assets SET state = 'live', created_at = %(created)s WHERE blob_key = %(blob_key)s AND state = 'pending'

-- name: all_sealed
SELECT NOT EXISTS (SELECT FROM requests WHERE body IS NOT NULL) AND NOT EXISTS (SELECT FROM assets WHERE state = 'live' AND NOT sealed) AS done

-- name: wipe_clear_text
-- Everything that ever held words in the clear is written anew, once.
INSERT INTO wipes (part) SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'requests'::regclass
UNION ALL SELECT 'assets'
ON CONFLICT (part) DO UPDATE SET last = excluded.last, at = excluded.at
