-- name: totals
SELECT count(*) AS jobs, coalesce(sum(pictures), 0)::bigint AS pictures, coalesce(sum(seconds), 0)::float AS seconds,
    (SELECT coalesce(sum(amount), 0)::bigint FROM entries
     WHERE account_id = %(account)s AND book = 'sales' AND transfer LIKE 'capture:%%' AND at >= coalesce(%(since)s, '-infinity'::timestamptz)) AS paid
FROM usage WHERE account_id = %(account)s AND at >= coalesce(%(since)s, '-infinity'::timestamptz)

-- name: spent
SELECT coalesce(sum(amount) FILTER (WHERE book = 'sales'), 0)::bigint AS spent,
    coalesce(-sum(amount) FILTER (WHERE book = 'paid in'), 0)::bigint AS credited
FROM entries WHERE account_id = %(account)s AND book IN ('sales', 'paid in')

-- name: history
SELECT u.job_id, u.pictures, u.seconds, u.at, coalesce(h.amount, 0) AS paid
FROM usage u LEFT JOIN holds h ON h.job_id = u.job_id
WHERE u.account_id = %(account)s AND u.at >= coalesce(%(since)s, '-infinity'::timestamptz)
  AND u.at < coalesce(%(until)s, 'infinity'::timestamptz)
ORDER BY u.at DESC, u.job_id DESC LIMIT %(limit)s

-- name: transactions
-- What came into the wallet (1) and what went out of it (-1). Prices that were held and given back are not told.
SELECT id, transfer, amount, at FROM entries
WHERE account_id = %(account)s AND ((book = 'wallet' AND split_part(transfer, ':', 1) NOT IN ('hold', 'release')) OR
    (book = 'held' AND split_part(transfer, ':', 1) = 'capture'))
  AND (%(sign)s::int IS NULL OR sign(amount) = %(sign)s)
ORDER BY id DESC LIMIT %(limit)s OFFSET %(offset)s

-- name: transactions_count
SELECT count(*) AS found FROM entries
WHERE account_id = %(account)s AND ((book = 'wallet' AND split_part(transfer, ':', 1) NOT IN ('hold', 'release')) OR
    (book = 'held' AND split_part(transfer, ':', 1) = 'capture'))
  AND (%(sign)s::int IS NULL OR sign(amount) = %(sign)s)
