-- name: take
-- A minute begins with the first call after the last one ended.
INSERT INTO rates AS r (account_id, what) VALUES (%(account)s, %(what)s)
ON CONFLICT (account_id, what) DO UPDATE SET
    began_at = CASE WHEN r.began_at > now() - interval '1 minute' THEN r.began_at ELSE now() END,
    calls = CASE WHEN r.began_at > now() - interval '1 minute' THEN r.calls + 1 ELSE 1 END
RETURNING calls, ceil(extract(epoch FROM began_at + interval '1 minute'))::bigint AS resets_at,
    ceil(extract(epoch FROM began_at + interval '1 minute' - now()))::int AS seconds
