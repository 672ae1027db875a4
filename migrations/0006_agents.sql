-- What resolving a run's container (request > spec > binding > auto) needs beyond the tables of 0004. No route has written to agents before.

-- The container of a spec is a column, so that the database itself refuses another tenant's.
ALTER TABLE agents DROP COLUMN spec,
    ADD COLUMN code_interpreter boolean NOT NULL, -- the tool that runs things in a container
    ADD COLUMN container_id     uuid,             -- the spec config; null: none
    ADD COLUMN mode             text NOT NULL CHECK (mode IN ('auto', 'explicit')),
    ADD COLUMN fallback_to_auto boolean NOT NULL, -- explicit with nothing bound runs in the server's own environment all the same
    ADD COLUMN engine           text,
    ADD COLUMN model            text,
    ADD COLUMN instructions     text,
    ADD FOREIGN KEY (container_id, user_id) REFERENCES containers (id, user_id);

-- A container that nobody has used for so long can't be chosen any more. Null: it never expires.
ALTER TABLE containers ADD COLUMN idle_expiry_seconds integer CHECK (idle_expiry_seconds > 0),
    ADD COLUMN last_used_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX runs_container_live ON runs (container_id) WHERE status IN ('queued', 'running') AND container_id IS NOT NULL;
