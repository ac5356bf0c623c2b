-- Pictures that ControlNets follow are inputs like any other: found where a cache is cleared.
DROP INDEX assets_cached;
CREATE INDEX assets_cached ON assets (account_id)
    WHERE state = 'live' AND (kind IN ('init_image', 'mask_image', 'control_image', 'second_control_image', 'third_control_image') OR (kind = 'upload' AND expires_at IS NOT NULL));
