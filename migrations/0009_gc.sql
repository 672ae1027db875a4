-- Retention: a deletion is decided in the database first, says by which policy for ever, and what it leaves to be removed elsewhere (a zip, a
-- volume) can be found again after a crash.

ALTER TABLE evidence_bundles
    ADD COLUMN deleted_reason  text CHECK (deleted_reason IN ('retention', 'manual')),
    ADD COLUMN deleted_policy  text,        -- as it was configured: "EVIDENCE_TTL_DAYS=190"
    ADD COLUMN file_removed_at timestamptz, -- null on a deleted row: the zip may still be there
    ADD CHECK ((deleted_reason IS NULL) = (deleted_policy IS NULL)),
    ADD CHECK (status = 'deleted' OR (deleted_reason IS NULL AND file_removed_at IS NULL));
CREATE INDEX evidence_bundles_unlinking ON evidence_bundles (id) WHERE status = 'deleted' AND file_removed_at IS NULL;

ALTER TABLE workflow_bundles
    ADD COLUMN deleted_reason  text CHECK (deleted_reason IN ('retention', 'manual')),
    ADD COLUMN deleted_policy  text,
    ADD COLUMN file_removed_at timestamptz,
    ADD CHECK ((deleted_reason IS NULL) = (deleted_policy IS NULL)),
    ADD CHECK (status = 'deleted' OR (deleted_reason IS NULL AND file_removed_at IS NULL));
CREATE INDEX workflow_bundles_expiring ON workflow_bundles (created_at, workflow_run_id) WHERE status = 'ready';
CREATE INDEX workflow_bundles_unlinking ON workflow_bundles (workflow_run_id) WHERE status = 'deleted' AND file_removed_at IS NULL;

ALTER TABLE workspaces
    ADD COLUMN deleted_reason text CHECK (deleted_reason IN ('retention', 'manual')),
    ADD COLUMN deleted_policy text,
    ADD COLUMN gc_volume_name text, -- the volume of a deleted one, until the engine has removed it
    ADD CHECK ((deleted_reason IS NULL) = (deleted_policy IS NULL)),
    ADD CHECK (state = 'deleted' OR (deleted_reason IS NULL AND gc_volume_name IS NULL));
CREATE INDEX workspaces_expiring ON workspaces (last_active_at, id) WHERE state = 'cold';
CREATE INDEX workspaces_removing ON workspaces (id) WHERE gc_volume_name IS NOT NULL;

-- Bundles that could not be built, for another try.
CREATE INDEX evidence_bundles_failed ON evidence_bundles (created_at, id) WHERE status = 'error';
CREATE INDEX workflow_bundles_failed ON workflow_bundles (created_at, workflow_run_id) WHERE status = 'error';
