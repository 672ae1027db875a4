-- Workflows: versioned definitions, their runs, what each step came to, the lines and the bundle of a run. No route has written to the
-- workflow tables of 0004 before.

ALTER TABLE workflows DROP COLUMN spec,
    ADD COLUMN version integer NOT NULL DEFAULT 1 CHECK (version > 0), -- the newest
    ADD COLUMN deleted_at timestamptz,
    ADD CHECK (key ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$');

-- Workflows that are not deleted: taken by the statement that makes one, as container_count is.
ALTER TABLE users ADD COLUMN workflow_count integer NOT NULL DEFAULT 0 CHECK (workflow_count >= 0);

-- A version never changes; a change of the definition is the next one.
CREATE TABLE workflow_versions (
    user_id    uuid NOT NULL,
    key        text NOT NULL,
    version    integer NOT NULL CHECK (version > 0),
    spec       text NOT NULL, -- canonical JSON; text, never jsonb: its SHA-256 stands in the evidence
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key, version),
    FOREIGN KEY (user_id, key) REFERENCES workflows (user_id, key)
);

ALTER TABLE workflow_runs DROP COLUMN spec,
    ADD COLUMN workflow_version    integer NOT NULL,
    ADD COLUMN workspace_id        uuid NOT NULL,
    ADD COLUMN context             text NOT NULL, -- canonical JSON: the request and what each agent was resolved to; hashed into the evidence
    ADD COLUMN container_ids       uuid[] NOT NULL DEFAULT '{}', -- of the tenant's containers that its agents were given: in use until it ends
    ADD COLUMN streaming           boolean NOT NULL,
    ADD COLUMN idempotency_key     text CHECK (char_length(idempotency_key) BETWEEN 1 AND 255),
    ADD COLUMN reason              text,
    ADD COLUMN cancel_requested_at timestamptz,
    ADD CHECK (status <> 'queued' OR started_at IS NULL),
    ADD CHECK (status <> 'running' OR started_at IS NOT NULL),
    ADD FOREIGN KEY (user_id, workflow_key, workflow_version) REFERENCES workflow_versions (user_id, key, version),
    ADD FOREIGN KEY (workspace_id, project_id, user_id) REFERENCES workspaces (id, project_id, user_id);
CREATE UNIQUE INDEX workflow_runs_idempotency ON workflow_runs (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX workflow_runs_live ON workflow_runs (user_id, created_at) WHERE status IN ('queued', 'running');

-- One row per step, made with the run, in the order of the definition. Which run a step became: runs.workflow_run_id, workflow_step.
CREATE TABLE workflow_run_steps (
    workflow_run_id uuid NOT NULL,
    user_id         uuid NOT NULL,
    step            integer NOT NULL CHECK (step >= 0),
    key             text NOT NULL CHECK (key ~ '^[A-Za-z0-9_-]{1,64}$'),
    agent_key       text NOT NULL,
    status          text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'timeout', 'skipped')),
    error_message   text,
    reason          text,
    started_at      timestamptz,
    finished_at     timestamptz,
    PRIMARY KEY (workflow_run_id, step),
    UNIQUE (workflow_run_id, key),
    FOREIGN KEY (workflow_run_id, user_id) REFERENCES workflow_runs (id, user_id),
    CHECK ((status IN ('pending', 'running')) = (finished_at IS NULL)),
    CHECK (status NOT IN ('pending', 'skipped') OR started_at IS NULL),
    CHECK (status NOT IN ('running', 'succeeded', 'timeout') OR started_at IS NOT NULL)
);

-- What happened to the run as a whole, chained as every log is (file name workflow.jsonl). position: of the line in the stream of all steps,
-- in which the lines of a step's run follow the line that started it.
CREATE TABLE workflow_run_lines (
    workflow_run_id uuid NOT NULL,
    user_id         uuid NOT NULL,
    seq             bigint NOT NULL CHECK (seq >= 0),
    position        bigint NOT NULL CHECK (position >= seq),
    step            integer, -- of the line that started a step: its run's lines follow
    line            text NOT NULL,
    PRIMARY KEY (workflow_run_id, seq),
    UNIQUE (workflow_run_id, position),
    FOREIGN KEY (workflow_run_id, user_id) REFERENCES workflow_runs (id, user_id)
);

-- The sealed list of a workflow run's bundles: as evidence_bundles.
CREATE TABLE workflow_bundles (
    workflow_run_id  uuid PRIMARY KEY,
    user_id          uuid NOT NULL,
    status           text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'ready', 'error', 'deleted')),
    bundle_path      text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    error_message    text,
    sha256           text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    size_bytes       bigint CHECK (size_bytes >= 0),
    complete         boolean NOT NULL DEFAULT false,
    sealed_at        timestamptz,
    deleted_at       timestamptz,
    claim_holder     text,
    claim_expires_at timestamptz,
    attempts         integer NOT NULL DEFAULT 0,
    FOREIGN KEY (workflow_run_id, user_id) REFERENCES workflow_runs (id, user_id),
    CHECK (status <> 'ready' OR (bundle_path IS NOT NULL AND sha256 IS NOT NULL AND size_bytes IS NOT NULL AND sealed_at IS NOT NULL)),
    CHECK (status <> 'error' OR error_message IS NOT NULL),
    CHECK ((status = 'deleted') = (deleted_at IS NOT NULL))
);
CREATE INDEX workflow_bundles_pending ON workflow_bundles (created_at, workflow_run_id) WHERE status = 'pending';
