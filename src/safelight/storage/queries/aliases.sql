-- name: all
SELECT pattern, model FROM aliases ORDER BY created_at, pattern

-- name: set
INSERT INTO aliases (pattern, model) VALUES (%(pattern)s, %(model)s)
ON CONFLICT (pattern) DO UPDATE SET model = excluded.model

-- name: remove
DELETE FROM aliases WHERE pattern = %(pattern)s
