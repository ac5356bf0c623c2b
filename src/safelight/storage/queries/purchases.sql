-- name: intend
INSERT INTO charges (id, account_id, amount, purpose) VALUES (%(id)s, %(account)s, %(amount)s, %(purpose)s)
ON CONFLICT (id) DO NOTHING

-- name: charge
SELECT c.*, a.name AS account_name FROM charges c JOIN accounts a ON a.id = c.account_id WHERE c.id = %(id)s

-- name: asked
UPDATE charges SET asked_at = now(), attempt = attempt + 1 WHERE id = %(id)s

-- name: end
UPDATE charges SET state = %(state)s, ended_at = now() WHERE id = %(id)s AND state = 'asked'

-- name: unknown
-- Nobody knows whether these were charged: asked again after 1, 2, 4 ... minutes, and at last once a day.
SELECT id FROM charges
WHERE state = 'asked' AND asked_at < now() - least(interval '1 minute' * (2 ^ least(attempt, 20)), interval '1 day')
ORDER BY asked_at LIMIT 20

-- name: subscribe
-- Where nothing is charged it is over as soon as it begins: only its key is wanted.
INSERT INTO subscriptions (account_id, key_id, plan, period, price, ends_at)
VALUES (%(account)s, %(key)s, %(plan)s, %(period)s, %(price)s, now() + make_interval(months => %(months)s))
RETURNING id

-- name: cancel
UPDATE subscriptions s SET cancelled_at = coalesce(s.cancelled_at, now()) FROM keys k
WHERE k.id = s.key_id AND k.hash = %(hash)s AND s.account_id = %(account)s
RETURNING s.key_id

-- name: due
SELECT s.id, s.account_id, a.name AS account_name, s.plan, s.period, s.price, s.ends_at
FROM subscriptions s JOIN accounts a ON a.id = s.account_id
WHERE s.period IS NOT NULL AND s.cancelled_at IS NULL AND s.ends_at < now() + interval '1 hour' ORDER BY s.ends_at LIMIT 20

-- name: extend
UPDATE subscriptions SET ends_at = greatest(ends_at, now()) + make_interval(months => %(months)s)
WHERE id = %(id)s AND ends_at = %(ends_at)s AND cancelled_at IS NULL

-- name: lapse
UPDATE subscriptions SET cancelled_at = now() WHERE id = %(id)s AND ends_at = %(ends_at)s AND cancelled_at IS NULL

-- name: add_models
UPDATE wallets SET models = models + %(quantity)s WHERE account_id = %(account)s RETURNING models
