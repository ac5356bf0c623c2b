-- name: begin
INSERT INTO sessions (hash, key_id, expires_at) VALUES (%(hash)s, %(key)s, now() + %(lives)s * interval '1 second')

-- name: find
SELECT k.id AS key_id, k.operator, a.stores AND k.stores AS stores, a.id, a.name
FROM sessions s JOIN keys k ON k.id = s.key_id JOIN accounts a ON a.id = k.account_id
WHERE s.hash = %(hash)s AND s.expires_at > now() AND k.revoked_at IS NULL

-- name: end
DELETE FROM sessions WHERE hash = %(hash)s

-- name: end_all
DELETE FROM sessions WHERE key_id IN (SELECT id FROM keys WHERE account_id = %(account)s)

-- name: end_expired
DELETE FROM sessions WHERE expires_at < now()
