-- What registering containers, and running in them, needs beyond the table of 0004.

-- Of those not deleted. The limit per tenant is taken from it in the statement that inserts, as the quota is: counting rows could let two pass.
ALTER TABLE users ADD COLUMN container_count integer NOT NULL DEFAULT 0 CHECK (container_count >= 0);
UPDATE users SET container_count = n FROM (SELECT user_id, count(*) AS n FROM containers WHERE deleted_at IS NULL GROUP BY user_id) c
    WHERE users.id = c.user_id;

ALTER TABLE containers ADD COLUMN pids integer CHECK (pids > 0);

-- What the runtime really does: the internal bridge, without a way out and without traffic between workspaces.
UPDATE containers SET network_policy = 'internal';
ALTER TABLE containers ALTER COLUMN network_policy SET DEFAULT 'internal', ADD CHECK (network_policy = 'internal');

-- JSON: the name of a built-in profile, or the canonical text of an OCI seccomp profile. Text, never jsonb: its SHA-256 stands in the evidence.
UPDATE containers SET sandbox_profile = to_json(sandbox_profile)::text;
ALTER TABLE containers ALTER COLUMN sandbox_profile SET DEFAULT '"default"',
    ADD CHECK (jsonb_typeof(sandbox_profile::jsonb) IN ('string', 'object'));

-- Which container a run was given, and which engine container that became: the object of its ToolContext event.
ALTER TABLE runs ADD COLUMN container_id uuid, -- of the tenant's container, null for auto
    ADD COLUMN container_context jsonb,
    ADD FOREIGN KEY (container_id, user_id) REFERENCES containers (id, user_id),
    ADD CHECK (status <> 'running' OR container_context IS NOT NULL) NOT VALID; -- runs of before have none
