-- Tenants and what they own. Every table that holds a tenant's data carries user_id; composite foreign keys keep the tenant of a workspace
-- equal to its project's and that of a run to its workspace's, so none can be attached across tenants even by a faulty query.

CREATE TABLE users (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text NOT NULL UNIQUE CHECK (char_length(name) BETWEEN 1 AND 128),
    daily_run_limit integer NOT NULL DEFAULT 500 CHECK (daily_run_limit >= 0),
    created_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    uuid NOT NULL REFERENCES users (id),
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 128),
    key_hash   text NOT NULL UNIQUE CHECK (key_hash ~ '^[0-9a-f]{64}$'),  -- SHA-256 of the key
    prefix     text NOT NULL CHECK (char_length(prefix) BETWEEN 1 AND 32), -- shown in listings
    scopes     smallint NOT NULL CHECK (scopes BETWEEN 1 AND 7),           -- bits: 1 read, 2 run, 4 admin
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE INDEX api_keys_user ON api_keys (user_id, created_at, id);

CREATE TABLE projects (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    uuid NOT NULL REFERENCES users (id),
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 128),
    repo_url   text CHECK (char_length(repo_url) BETWEEN 1 AND 2048), -- null: starts as an empty repository
    created_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    UNIQUE (id, user_id)
);
CREATE UNIQUE INDEX projects_name ON projects (user_id, name) WHERE deleted_at IS NULL;
CREATE INDEX projects_page ON projects (user_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE TABLE workspaces (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id          uuid NOT NULL,
    project_id       uuid NOT NULL UNIQUE,
    state            text NOT NULL DEFAULT 'cold' CHECK (state IN ('cold', 'warm', 'deleted')),
    volume_name      text,
    container_id     text, -- the engine's id
    image_name       text,
    image_digest     text,
    runtime_metadata jsonb,
    pinned           boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    last_active_at   timestamptz NOT NULL DEFAULT now(),
    warm_since       timestamptz,
    deleted_at       timestamptz,
    FOREIGN KEY (project_id, user_id) REFERENCES projects (id, user_id),
    UNIQUE (id, project_id, user_id),
    CHECK ((state = 'warm') = (container_id IS NOT NULL)),
    CHECK ((state = 'warm') = (warm_since IS NOT NULL)),
    CHECK ((state = 'deleted') = (deleted_at IS NOT NULL)),
    CHECK (state <> 'warm' OR volume_name IS NOT NULL),
    CHECK (state <> 'deleted' OR volume_name IS NULL)
);
CREATE INDEX workspaces_user ON workspaces (user_id, state, last_active_at);
CREATE INDEX workspaces_active ON workspaces (state, last_active_at) WHERE state <> 'deleted';
