-- What container overrides resolve against (request > spec > binding > auto) and workflows.

-- A tenant's agent specs: tools, container (the spec config), engine, model, instructions.
CREATE TABLE agents (
    user_id    uuid NOT NULL REFERENCES users (id),
    key        text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 128),
    spec       jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);

-- A tenant's named environments.
CREATE TABLE containers (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id         uuid NOT NULL REFERENCES users (id),
    name            text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 128),
    image_name      text NOT NULL,
    image_digest    text,
    cpu_millis      integer CHECK (cpu_millis > 0),
    memory_bytes    bigint CHECK (memory_bytes > 0),
    network_policy  text NOT NULL DEFAULT 'none',
    sandbox_profile text NOT NULL DEFAULT 'default',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    UNIQUE (id, user_id)
);
CREATE UNIQUE INDEX containers_name ON containers (user_id, name) WHERE deleted_at IS NULL;
CREATE INDEX containers_page ON containers (user_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

-- The tenant binding: which environment an agent gets when neither request nor spec says. The agent need not have a spec of its own.
CREATE TABLE agent_containers (
    user_id      uuid NOT NULL REFERENCES users (id),
    agent_key    text NOT NULL CHECK (char_length(agent_key) BETWEEN 1 AND 128),
    container_id uuid NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, agent_key),
    FOREIGN KEY (container_id, user_id) REFERENCES containers (id, user_id)
);
CREATE INDEX agent_containers_container ON agent_containers (container_id);

CREATE TABLE workflows (
    user_id    uuid NOT NULL REFERENCES users (id),
    key        text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 128),
    spec       jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'), -- steps of (agent, prompt template)
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);

CREATE TABLE workflow_runs (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id       uuid NOT NULL,
    workflow_key  text NOT NULL,
    project_id    uuid NOT NULL,
    status        text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'timeout')),
    input         text NOT NULL,
    spec          jsonb NOT NULL, -- the workflow as it was when this run began
    metadata      jsonb NOT NULL DEFAULT '{}', -- container_context per agent
    error_message text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    FOREIGN KEY (user_id, workflow_key) REFERENCES workflows (user_id, key),
    FOREIGN KEY (project_id, user_id) REFERENCES projects (id, user_id),
    UNIQUE (id, user_id),
    CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL))
);
CREATE INDEX workflow_runs_page ON workflow_runs (user_id, workflow_key, created_at DESC, id DESC);

-- The steps of a workflow run are ordinary runs.
ALTER TABLE runs ADD FOREIGN KEY (workflow_run_id, user_id) REFERENCES workflow_runs (id, user_id);
CREATE UNIQUE INDEX runs_workflow_step ON runs (workflow_run_id, workflow_step) WHERE workflow_run_id IS NOT NULL;
