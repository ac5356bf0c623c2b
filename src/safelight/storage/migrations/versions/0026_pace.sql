-- How fast all workers are together, as they measured lately, or the last of them did: told in one way there and back with what waits.
CREATE VIEW pace AS SELECT coalesce(
    (SELECT sum(1 / seconds_per_cost) FROM nodes WHERE seconds_per_cost > 0 AND seen_at > now() - interval '1 minute'),
    (SELECT 1 / seconds_per_cost FROM nodes WHERE seconds_per_cost > 0 ORDER BY seen_at DESC LIMIT 1)
) AS cost_per_second;
