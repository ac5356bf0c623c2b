-- name: wallet
-- Made where there is none, and locked: whoever moves money of an account has its wallet first.
INSERT INTO wallets (account_id) VALUES (%(account)s)
ON CONFLICT (account_id) DO UPDATE SET account_id = excluded.account_id
RETURNING available

-- name: balance
SELECT available, held FROM wallets WHERE account_id = %(account)s

-- name: covered
SELECT count(*) AS calls FROM holds
WHERE account_id = %(account)s AND covered AND state <> 'released' AND created_at >= date_trunc('month', now(), 'UTC')

-- name: hold
WITH taken AS (
    UPDATE wallets SET available = available - %(amount)s, held = held + %(amount)s
    WHERE account_id = %(account)s RETURNING account_id
), kept AS (
    INSERT INTO holds (job_id, account_id, amount, covered) VALUES (%(job)s, %(account)s, %(amount)s, %(covered)s)
)
INSERT INTO entries (transfer, account_id, book, amount)
SELECT 'hold:' || %(job)s, account_id, book, sign * %(amount)s
FROM taken, (VALUES ('wallet', -1), ('held', 1)) AS leg (book, sign) WHERE %(amount)s > 0

-- name: settle
-- By the state that the job's row has in this transaction: success pays, everything else gives back. A job is settled once.
WITH ended AS (
    UPDATE holds h SET state = CASE j.state WHEN 'succeeded' THEN 'captured' ELSE 'released' END, ended_at = now()
    FROM jobs j
    WHERE j.id = h.job_id AND h.job_id = ANY (%(ids)s) AND h.state = 'held' AND j.state IN ('succeeded', 'failed', 'cancelled')
    RETURNING h.job_id, h.account_id, h.amount, h.state = 'captured' AS paid
), moved AS (
    UPDATE wallets w SET held = w.held - e.amount, available = w.available + e.given_back
    FROM (SELECT account_id, sum(amount) AS amount, coalesce(sum(amount) FILTER (WHERE NOT paid), 0) AS given_back
          FROM ended GROUP BY account_id) e
    WHERE w.account_id = e.account_id
)
INSERT INTO entries (transfer, account_id, book, amount)
SELECT CASE WHEN paid THEN 'capture:' ELSE 'release:' END || job_id, account_id, book, sign * amount
FROM ended, LATERAL (VALUES ('held', -1), (CASE WHEN paid THEN 'sales' ELSE 'wallet' END, 1)) AS leg (book, sign)
WHERE amount > 0

-- name: move
-- Into the wallet, or with a negative amount out of it; the other book answers. A transfer of that name is made once.
WITH booked AS (
    INSERT INTO entries (transfer, account_id, book, amount, note)
    SELECT %(transfer)s, %(account)s, book, sign * %(amount)s, %(note)s
    FROM (VALUES ('wallet', 1), (%(other)s, -1)) AS leg (book, sign)
    ON CONFLICT (transfer, book) DO NOTHING RETURNING book, account_id, amount
)
UPDATE wallets w SET available = w.available + b.amount FROM booked b
WHERE b.book = 'wallet' AND w.account_id = b.account_id

-- name: booked
SELECT EXISTS (SELECT FROM entries WHERE transfer = %(transfer)s) AS found

-- name: plan
SELECT id, plan, period, price, began_at, ends_at, cancelled_at FROM subscriptions
WHERE account_id = %(account)s AND began_at <= now() AND (ends_at IS NULL OR ends_at > now()) ORDER BY id DESC LIMIT 1

-- name: give_plan
INSERT INTO subscriptions (account_id, plan) VALUES (%(account)s, %(plan)s)

-- name: end_plans
UPDATE subscriptions SET ends_at = least(ends_at, now()), cancelled_at = coalesce(cancelled_at, now())
WHERE account_id = %(account)s AND (ends_at IS NULL OR ends_at > now())

-- name: accounts
SELECT a.id, a.name, coalesce(w.available, 0) AS available, coalesce(w.held, 0) AS held,
    (SELECT s.plan FROM subscriptions s WHERE s.account_id = a.id AND s.began_at <= now() AND (s.ends_at IS NULL OR s.ends_at > now())
     ORDER BY s.id DESC LIMIT 1) AS plan,
    a.most_jobs, a.most_bytes, (SELECT coalesce(sum(amount), 0)::bigint FROM (
        SELECT amount FROM tallies WHERE account_id = a.id AND what = 'bytes'
        UNION ALL SELECT amount FROM deltas WHERE account_id = a.id AND what = 'bytes') counted) AS kept,
    k.keys, k.operator, k.seen_at
FROM accounts a LEFT JOIN wallets w ON w.account_id = a.id, LATERAL (
    SELECT count(*) AS keys, coalesce(bool_or(operator), false) AS operator, max(last_used_at) AS seen_at
    FROM keys WHERE account_id = a.id AND revoked_at IS NULL) k
WHERE a.erased_at IS NULL AND a.id > %(after)s AND position(lower(%(named)s) IN lower(a.name)) > 0
ORDER BY a.id LIMIT %(limit)s

-- name: named
SELECT id, name FROM accounts WHERE name = %(name)s
