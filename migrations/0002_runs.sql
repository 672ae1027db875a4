-- Runs, their event lines, the quota they take and the leases they run under.

CREATE TABLE usage_daily (
    user_id uuid NOT NULL REFERENCES users (id),
    day     date NOT NULL, -- UTC
    runs    integer NOT NULL CHECK (runs >= 0),
    PRIMARY KEY (user_id, day)
) WITH (fillfactor = 50); -- counted up in place

CREATE TABLE leases (
    name       text PRIMARY KEY, -- "workspace:<id>", ...
    holder     text NOT NULL,    -- one process start of an orchestrator; '' when released
    epoch      bigint NOT NULL,  -- raised by every take: fences an earlier holder's late writes
    expires_at timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX leases_holder ON leases (holder);

CREATE TABLE runs (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id             uuid NOT NULL,
    project_id          uuid NOT NULL,
    workspace_id        uuid NOT NULL,
    status              text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'timeout')),
    streaming           boolean NOT NULL,
    prompt              text NOT NULL,
    engine              text NOT NULL,
    run_context         text NOT NULL, -- canonical bytes, hashed into the evidence: text, never jsonb
    thread_id           text,
    agent_key           text,
    workflow_run_id     uuid,
    workflow_step       integer,
    idempotency_key     text CHECK (char_length(idempotency_key) BETWEEN 1 AND 255),
    git_commit          text,
    image_name          text,
    image_digest        text,
    env_snapshot        jsonb,
    final_text          text,
    diff                text,
    error_message       text,
    reason              text,
    lease_epoch         bigint,
    created_at          timestamptz NOT NULL DEFAULT now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    cancel_requested_at timestamptz,
    FOREIGN KEY (workspace_id, project_id, user_id) REFERENCES workspaces (id, project_id, user_id),
    CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL)),
    CHECK (status <> 'queued' OR started_at IS NULL),
    CHECK (status <> 'running' OR (started_at IS NOT NULL AND lease_epoch IS NOT NULL))
);
CREATE INDEX runs_page ON runs (project_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX runs_idempotency ON runs (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX runs_live ON runs (project_id, created_at) WHERE status IN ('queued', 'running');

-- How many lines a run's chained file has and the hash of the last: moved in the same statement that inserts the lines.
CREATE TABLE run_chains (
    run_id  uuid NOT NULL REFERENCES runs (id),
    file    text NOT NULL,
    user_id uuid NOT NULL,
    lines   bigint NOT NULL DEFAULT 0 CHECK (lines >= 0),
    bytes   bigint NOT NULL DEFAULT 0,
    head    text NOT NULL DEFAULT '', -- hex SHA-256 of the last line without LF
    closed  boolean NOT NULL DEFAULT false, -- the run ended: no more lines
    PRIMARY KEY (run_id, file),
    CHECK (length(head) = CASE WHEN lines = 0 THEN 0 ELSE 64 END)
) WITH (fillfactor = 50);

-- One row per flush: whole LF-terminated lines, the very bytes that were streamed. A row per line would cost ten times the space and rate.
CREATE TABLE run_events (
    run_id    uuid NOT NULL REFERENCES runs (id),
    first_seq bigint NOT NULL CHECK (first_seq >= 0),
    last_seq  bigint NOT NULL,
    user_id   uuid NOT NULL,
    bytes     integer NOT NULL, -- of lines; read without fetching them
    lines     text NOT NULL,
    PRIMARY KEY (run_id, first_seq),
    CHECK (last_seq >= first_seq),
    CHECK (bytes = octet_length(lines))
);
