-- name: ensure
INSERT INTO accounts (name, webhook_secret) VALUES (%(name)s, %(secret)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id, name

-- name: add_key
INSERT INTO keys (account_id, label, prefix, hash, operator)
VALUES (%(account)s, %(label)s, %(prefix)s, %(hash)s, %(operator)s)
RETURNING *, %(name)s AS account_name

-- name: by_hash
SELECT k.hash, k.id AS key_id, k.operator, a.stores AND k.stores AS stores, a.id, a.name, k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute' AS stale
FROM keys k JOIN accounts a ON a.id = k.account_id
WHERE k.hash = ANY (%(hashes)s::bytea[]) AND k.revoked_at IS NULL

-- name: key_stands
SELECT EXISTS (SELECT FROM keys WHERE id = %(id)s AND revoked_at IS NULL) AS stands

-- name: touch_keys
UPDATE keys SET last_used_at = now() WHERE id = ANY (%(ids)s)

-- name: keys
SELECT k.*, a.name AS account_name FROM keys k JOIN accounts a ON a.id = k.account_id
WHERE a.erased_at IS NULL ORDER BY k.id

-- name: own_keys
SELECT k.*, a.name AS account_name FROM keys k JOIN accounts a ON a.id = k.account_id
WHERE k.account_id = %(account)s AND k.revoked_at IS NULL ORDER BY k.id

-- name: stores
SELECT stores FROM accounts WHERE id = %(account)s

-- name: store
UPDATE accounts SET stores = %(stores)s WHERE id = %(account)s

-- name: store_of_key
UPDATE keys SET stores = %(stores)s WHERE id = %(id)s AND account_id = %(account)s AND revoked_at IS NULL

-- name: relabel
UPDATE keys SET label = %(label)s WHERE id = %(id)s AND account_id = %(account)s AND revoked_at IS NULL

-- name: revoke_own
UPDATE keys SET revoked_at = now() WHERE id = %(id)s AND account_id = %(account)s AND revoked_at IS NULL

-- name: revoke
UPDATE keys k SET revoked_at = coalesce(k.revoked_at, now()) FROM accounts a
WHERE a.id = k.account_id
  AND k.id IN (SELECT min(id) FROM keys WHERE id::text = %(which)s OR starts_with(prefix, %(which)s) HAVING count(*) = 1)
RETURNING k.*, a.name AS account_name

-- name: any_keys
SELECT EXISTS (SELECT FROM keys WHERE revoked_at IS NULL) AS found

-- name: named
SELECT id, name FROM accounts WHERE name = %(name)s AND erased_at IS NULL

-- name: limit
-- A limit that is not given stays as it is; 0 takes it away.
UPDATE accounts SET most_jobs = CASE WHEN %(jobs)s::int IS NULL THEN most_jobs ELSE nullif(%(jobs)s::int, 0) END,
    most_bytes = CASE WHEN %(bytes)s::bigint IS NULL THEN most_bytes ELSE nullif(%(bytes)s::bigint, 0) END
WHERE name = %(name)s AND erased_at IS NULL RETURNING most_jobs, most_bytes

-- name: revoke_all
UPDATE keys SET revoked_at = now() WHERE account_id = %(account)s AND revoked_at IS NULL

-- name: lock
SELECT webhook_secret, now() AS at FROM accounts WHERE id = %(id)s AND erased_at IS NULL FOR UPDATE

-- name: end_plans
UPDATE subscriptions SET cancelled_at = now() WHERE account_id = %(account)s AND cancelled_at IS NULL

-- name: blank_keys
UPDATE keys SET label = '', prefix = '', hash = sha256(gen_random_uuid()::text::bytea), operator = false,
    revoked_at = coalesce(revoked_at, now())
WHERE account_id = %(account)s

-- name: blank
UPDATE accounts SET name = 'erased-' || id, webhook_secret = sha256(gen_random_uuid()::text::bytea), erased_at = now(),
    most_jobs = NULL, most_bytes = NULL
WHERE id = %(account)s

-- name: wipe
INSERT INTO wipes (part) SELECT unnest(ARRAY['accounts', 'keys', 'once', 'preferences', 'sessions'])
ON CONFLICT (part) DO UPDATE SET last = excluded.last, at = excluded.at
