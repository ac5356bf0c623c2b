-- name: add
INSERT INTO wishes (what, times) SELECT * FROM unnest(%(whats)s::text[], %(times)s::bigint[])
ON CONFLICT (what) DO UPDATE SET times = wishes.times + excluded.times, last_at = now()

-- name: most
SELECT what, times, last_at FROM wishes ORDER BY times DESC, what LIMIT %(most)s
