-- name: all
SELECT * FROM additions ORDER BY id

-- name: named
SELECT * FROM additions WHERE name = %(name)s

-- name: add
INSERT INTO additions (name, path, family, steps, guidance_scale)
VALUES (%(name)s, %(path)s, %(family)s, %(steps)s, %(guidance_scale)s)
ON CONFLICT (name) DO NOTHING RETURNING id

-- name: remove
DELETE FROM additions WHERE name = %(name)s RETURNING id

-- name: announce
SELECT pg_notify('safelight_shelved', %(id)s::text)
