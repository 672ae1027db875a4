-- Evidence bundles and who handled them.

CREATE TABLE evidence_bundles (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    run_id           uuid NOT NULL UNIQUE REFERENCES runs (id),
    user_id          uuid NOT NULL REFERENCES users (id),
    project_id       uuid NOT NULL REFERENCES projects (id),
    workspace_id     uuid NOT NULL REFERENCES workspaces (id),
    status           text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'ready', 'error', 'deleted')),
    bundle_path      text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    error_message    text,
    sha256           text CHECK (sha256 ~ '^[0-9a-f]{64}$'), -- of the zip
    size_bytes       bigint CHECK (size_bytes >= 0),
    complete         boolean NOT NULL DEFAULT false, -- the record reached its regular end
    sealed_at        timestamptz,
    dsse_sha256      text CHECK (dsse_sha256 ~ '^[0-9a-f]{64}$'),
    log_index        bigint, -- in a transparency log
    legal_hold       boolean NOT NULL DEFAULT false,
    hold_reason      text,
    held_at          timestamptz,
    deleted_at       timestamptz,
    claim_holder     text, -- the builder at work on a pending row, until the deadline
    claim_expires_at timestamptz,
    attempts         integer NOT NULL DEFAULT 0,
    CHECK (status <> 'ready' OR (bundle_path IS NOT NULL AND sha256 IS NOT NULL AND size_bytes IS NOT NULL AND sealed_at IS NOT NULL)),
    CHECK (status <> 'error' OR error_message IS NOT NULL),
    CHECK ((status = 'deleted') = (deleted_at IS NOT NULL)),
    CHECK (NOT (legal_hold AND status = 'deleted'))
);
CREATE INDEX evidence_bundles_pending ON evidence_bundles (created_at, id) WHERE status = 'pending';
CREATE INDEX evidence_bundles_expiring ON evidence_bundles (created_at, id) WHERE status = 'ready' AND NOT legal_hold;

-- Chain of custody: what was done with a run's evidence and by whom. Each line holds "seq" and "prev" as every chained log does.
CREATE TABLE custody (
    run_id  uuid NOT NULL REFERENCES runs (id),
    seq     bigint NOT NULL CHECK (seq >= 0),
    user_id uuid NOT NULL REFERENCES users (id), -- whose evidence it is
    ts      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL, -- API key id, or "system"
    action  text NOT NULL CHECK (action IN ('created', 'downloaded', 'verified', 'held', 'released', 'purged', 'exported')),
    line    text NOT NULL, -- the chained bytes: address, digest of the zip, reason
    PRIMARY KEY (run_id, seq)
);

CREATE FUNCTION custody_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'custody is append-only';
END
$$;
CREATE TRIGGER custody_append_only BEFORE UPDATE OR DELETE ON custody
    FOR EACH ROW EXECUTE FUNCTION custody_refuse_change();
CREATE TRIGGER custody_no_truncate BEFORE TRUNCATE ON custody
    FOR EACH STATEMENT EXECUTE FUNCTION custody_refuse_change();
