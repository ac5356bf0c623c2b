-- name: secret
SELECT webhook_secret FROM accounts WHERE name = %(account)s
