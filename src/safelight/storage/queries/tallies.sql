-- name: fold
-- Adds up the changes so far, for their accounts and for everybody together.
WITH taken AS (DELETE FROM deltas RETURNING account_id, what, amount),
     sums AS (SELECT account_id, what, sum(amount)::bigint AS amount
              FROM (SELECT * FROM taken UNION ALL SELECT 0, what, amount FROM taken) changes GROUP BY account_id, what)
INSERT INTO tallies SELECT account_id, what, amount FROM sums
ON CONFLICT (account_id, what) DO UPDATE SET amount = tallies.amount + excluded.amount

-- name: of_account
SELECT coalesce(sum(amount), 0)::bigint AS amount FROM (
    SELECT amount FROM tallies WHERE account_id = %(account)s AND what = %(what)s
    UNION ALL SELECT amount FROM deltas WHERE account_id = %(account)s AND what = %(what)s) counted

-- name: of_all
SELECT what, sum(amount)::bigint AS amount
FROM (SELECT what, amount FROM tallies WHERE account_id = 0 UNION ALL SELECT what, amount FROM deltas) counted GROUP BY what
