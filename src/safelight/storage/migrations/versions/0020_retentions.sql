-- How long what an account asks for may be kept: by itself and by the operator, for all of it and for single keys. The shortest counts.
CREATE TABLE retentions (
    account_id bigint NOT NULL REFERENCES accounts,
    key_id     bigint NOT NULL,            -- 0: whatever the key
    set_by     text   NOT NULL CHECK (set_by IN ('owner', 'operator')),
    seconds    double precision CHECK (seconds > 0), -- NULL: no limit
    walked     bigint,                     -- requests up to this one have heard of it; NULL: all have
    PRIMARY KEY (account_id, key_id, set_by)
);
CREATE INDEX retentions_to_walk ON retentions (account_id) WHERE walked IS NOT NULL;

CREATE FUNCTION lifetime(account bigint, key bigint, own double precision) RETURNS double precision STABLE LANGUAGE sql AS $$
    SELECT least(own, min(seconds)) FROM retentions WHERE account_id = account AND key_id IN (0, key)
$$;

-- A request and all that belongs to it live so long from its end. Where nothing sets an end there is none to be written or found.
ALTER TABLE jobs ADD COLUMN lives double precision, ADD COLUMN expires_at timestamptz;
UPDATE jobs SET expires_at = (SELECT min(expires_at) FROM assets WHERE request_id = jobs.id AND kind = 'output')
WHERE erased_at IS NULL AND id IN (SELECT request_id FROM assets WHERE kind = 'output' AND state = 'live' AND expires_at IS NOT NULL);
UPDATE assets SET expires_at = NULL WHERE kind = 'output' AND expires_at IS NOT NULL;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE erased_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE erased_at IS NULL AND task <> 'install_model';
DROP INDEX assets_without_end;

-- Of uploads: by which key, and whether it is kept only to be used again.
ALTER TABLE assets ADD COLUMN key_id bigint, ADD COLUMN temp boolean NOT NULL DEFAULT false;
UPDATE assets SET temp = true WHERE kind = 'upload' AND expires_at IS NOT NULL;
DROP INDEX assets_cached;
CREATE INDEX assets_cached ON assets (account_id)
    WHERE state = 'live' AND (kind IN ('init_image', 'mask_image', 'control_image', 'second_control_image', 'third_control_image') OR (kind = 'upload' AND temp));
CREATE INDEX assets_uploaded ON assets (account_id, request_id) WHERE kind = 'upload' AND state IN ('pending', 'live');
