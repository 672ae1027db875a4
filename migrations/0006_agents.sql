-- What resolving a run's container (request > spec > binding > auto) needs beyond the tables of 0004. No route has written to agents or
-- agent_containers before.

-- The container of a spec is a column, so that the database itself refuses another tenant's.
ALTER TABLE agents DROP COLUMN spec,
    ADD COLUMN code_interpreter boolean NOT NULL, -- the tool that runs things in a container
    ADD COLUMN container_id     uuid,             -- the spec config; null: none
    ADD COLUMN mode             text NOT NULL CHECK (mode IN ('auto', 'explicit')),
    ADD COLUMN fallback_to_auto boolean NOT NULL, -- explicit with nothing bound runs in the server's own environment all the same
    ADD COLUMN engine           text,
    ADD COLUMN model            text,
    ADD COLUMN instructions     text,
    ADD FOREIGN KEY (container_id, user_id) REFERENCES containers (id, user_id),
    ADD CHECK (key ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$');

-- Taken by the statement that inserts a spec, as container_count is.
ALTER TABLE users ADD COLUMN agent_count integer NOT NULL DEFAULT 0 CHECK (agent_count >= 0);

-- A binding goes with its agent: one left behind would bind the next agent of that key. The agent that is built in has no row to refer to
-- and outlives any spec in its place, and so does its binding.
ALTER TABLE agent_containers
    ADD COLUMN spec_key text GENERATED ALWAYS AS (nullif(agent_key, 'default')) STORED,
    ADD FOREIGN KEY (user_id, spec_key) REFERENCES agents (user_id, key) ON DELETE CASCADE;

-- A container that nobody has used for so long can't be chosen any more. Null: it never expires.
ALTER TABLE containers ADD COLUMN idle_expiry_seconds integer CHECK (idle_expiry_seconds > 0),
    ADD COLUMN last_used_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX runs_container_live ON runs (container_id) WHERE status IN ('queued', 'running') AND container_id IS NOT NULL;
