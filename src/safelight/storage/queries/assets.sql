-- name: intend
INSERT INTO assets (account_id, request_id, kind, name, blob_key, fence, size, sealed)
VALUES (%(account)s, %(request)s, %(kind)s, %(name)s, %(blob_key)s, %(fence)s, %(size)s, true)
ON CONFLICT (blob_key) DO NOTHING

-- name: intend_upload
INSERT INTO assets (account_id, request_id, kind, name, blob_key, size, sealed, key_id, temp, expires_at)
VALUES (%(account)s, %(request)s, 'upload', %(name)s, %(blob_key)s, %(size)s, true, %(key)s, %(temp)s,
        now() + %(lives)s * interval '1 second')

-- name: enliven
UPDATE assets SET state = 'live' WHERE blob_key = ANY (%(blob_keys)s) AND state = 'pending'

-- name: enliven_upload
UPDATE assets SET state = 'live', expires_at = least(expires_at, now() + lifetime(account_id, key_id, NULL) * interval '1 second')
WHERE blob_key = %(blob_key)s AND state = 'pending' RETURNING *

-- name: abandon
-- What was intended and will not be: its bytes are to go.
UPDATE assets SET state = 'deleting', sha256 = NULL WHERE blob_key = ANY (%(blob_keys)s) AND state = 'pending'
RETURNING request_id AS id

-- name: abandon_job
UPDATE assets SET state = 'deleting', sha256 = NULL, settles_at = now() + %(settle)s * interval '1 second'
WHERE request_id = %(id)s AND kind IN ('output', 'text', 'model') AND state = 'pending'

-- name: abandon_old
-- Nobody is at work on these any more: the job ended or has another writer, or the caller left before it was accepted.
WITH abandoned AS (
    UPDATE assets a SET state = 'deleting', sha256 = NULL
    WHERE a.state = 'pending' AND a.created_at < now() - %(life)s * interval '1 second'
      AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = a.request_id AND j.state = 'running' AND j.fence = a.fence)
    RETURNING request_id
)
SELECT DISTINCT request_id AS id FROM abandoned

-- name: drop_inputs
UPDATE assets SET state = 'deleting', sha256 = NULL
WHERE request_id = %(id)s AND kind IN ('init_image', 'mask_image', 'control_image', 'second_control_image', 'third_control_image') AND state = 'live'

-- name: inputs
SELECT request_id, kind, blob_key, fence, sealed FROM assets WHERE request_id = %(id)s AND kind IN ('init_image', 'mask_image', 'control_image', 'second_control_image', 'third_control_image') AND state = 'live'

-- name: own_inputs
SELECT * FROM assets
WHERE request_id = %(id)s AND account_id = %(account)s AND kind IN ('init_image', 'mask_image', 'control_image', 'second_control_image', 'third_control_image') AND state = 'live'

-- name: outputs
SELECT * FROM assets WHERE request_id = %(id)s AND account_id = %(account)s AND kind = 'output' AND state = 'live' ORDER BY id

-- name: texts
SELECT * FROM assets WHERE request_id = %(id)s AND account_id = %(account)s AND kind = 'text' AND state = 'live' ORDER BY id

-- name: readable
SELECT a.* FROM assets a LEFT JOIN jobs j ON j.id = a.request_id
WHERE a.name = %(name)s AND a.state = 'live' AND a.kind IN ('output', 'upload')
  AND NOT coalesce(j.unstored, false) AND coalesce(least(a.expires_at, j.expires_at) > now(), true) AND (%(account)s::bigint IS NULL OR a.account_id = %(account)s)

-- name: request_of_name
SELECT request_id FROM assets
WHERE name = %(name)s AND account_id = %(account)s AND kind IN ('output', 'upload') ORDER BY id DESC LIMIT 1

-- name: deleting
SELECT id, blob_key FROM assets
WHERE state = 'deleting' AND id > %(after)s
  AND (%(receipts)s::uuid[] IS NULL OR receipt_id = ANY (%(receipts)s)) ORDER BY id LIMIT %(limit)s

-- name: deleting_keys
SELECT id, blob_key FROM assets WHERE state = 'deleting' AND blob_key = ANY (%(blob_keys)s)

-- name: gone
UPDATE assets SET state = 'gone', gone_at = now()
WHERE id = ANY (%(ids)s) AND state = 'deleting' AND (%(settled)s OR settles_at IS NULL OR settles_at < now())
