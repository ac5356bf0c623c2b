-- name: fold
-- Adds up the changes so far, for their accounts and for everybody together.
WITH taken AS (DELETE FROM deltas RETURNING account_id, what, amount),
     sums AS (SELECT account_id, what, sum(amount)::bigint AS amount
              FROM (SELECT * FROM taken UNION ALL SELECT 0, what, amount FROM taken) changes GROUP BY account_id, what)
INSERT INTO tallies SELECT account_id, what, amount FROM sums
ON CONFLICT (account_id, what) DO UPDATE SET amount = tallies.amount + excluded.amount

-- name: space
SELECT a.most_bytes AS most, (SELECT coalesce(sum(amount), 0)::bigint FROM (
    SELECT amount FROM tallies WHERE account_id = a.id AND what = 'bytes'
    UNION ALL SELECT amount FROM deltas WHERE account_id = a.id AND what = 'bytes') counted) AS kept
FROM accounts a WHERE a.id = %(account)s

-- name: of_all
SELECT what, sum(amount)::bigint AS amount
FROM (SELECT what, amount FROM tallies WHERE account_id = 0 UNION ALL SELECT what, amount FROM deltas) counted GROUP BY what
