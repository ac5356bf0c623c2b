-- name: get
SELECT body FROM preferences WHERE account_id = %(account)s AND dialect = %(dialect)s

-- name: update
INSERT INTO preferences AS p (account_id, dialect, body) VALUES (%(account)s, %(dialect)s, %(body)s)
ON CONFLICT (account_id, dialect) DO UPDATE SET body = p.body || excluded.body

-- name: forget_all
DELETE FROM preferences WHERE account_id = %(account)s
