-- Models: the providers whose model APIs a tenant's runs call through the gateway, what was used of them, and what a run's row says of its engine.

CREATE TABLE providers (
    id                 uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id            uuid NOT NULL REFERENCES users (id),
    name               text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'),
    base_url           text NOT NULL CHECK (char_length(base_url) BETWEEN 1 AND 2048),
    dialects           text[] NOT NULL CHECK (cardinality(dialects) > 0 AND dialects <@ ARRAY['responses', 'chat', 'messages', 'gemini']),
    auth               text NOT NULL CHECK (auth IN ('bearer', 'x-api-key', 'x-goog-api-key', 'none')),
    key_cipher         bytea, -- AES-256-GCM under ARP_SECRETS_KEY, its tag at the end; bound to user and name
    key_nonce          bytea CHECK (octet_length(key_nonce) = 12),
    key_id             text CHECK (key_id ~ '^[0-9a-f]{8}$'), -- which ARP_SECRETS_KEY
    key_updated_at     timestamptz,
    models             text[] NOT NULL, -- empty: any
    model_map          jsonb NOT NULL CHECK (jsonb_typeof(model_map) = 'object'), -- asked for: sent
    allow_hosted_tools boolean NOT NULL,
    record             text NOT NULL CHECK (record IN ('none', 'digest', 'full')),
    calls_per_run      bigint NOT NULL CHECK (calls_per_run >= 0), -- 0: no limit; so for the next three
    tokens_per_run     bigint NOT NULL CHECK (tokens_per_run >= 0),
    calls_per_day      bigint NOT NULL CHECK (calls_per_day >= 0),
    tokens_per_day     bigint NOT NULL CHECK (tokens_per_day >= 0),
    concurrent         integer NOT NULL CHECK (concurrent > 0),
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    deleted_at         timestamptz,
    CHECK ((key_cipher IS NULL) = (key_nonce IS NULL) AND (key_cipher IS NULL) = (key_id IS NULL) AND (key_cipher IS NULL) = (key_updated_at IS NULL)),
    CHECK ((key_cipher IS NULL) = (auth = 'none' OR deleted_at IS NOT NULL)) -- a deleted one's key is gone
);
CREATE UNIQUE INDEX providers_name ON providers (user_id, name) WHERE deleted_at IS NULL;

-- Taken by the statement that inserts a provider, as container_count is.
ALTER TABLE users ADD COLUMN provider_count integer NOT NULL DEFAULT 0 CHECK (provider_count >= 0);

-- By name: whoever deletes a provider and makes it again has used as much of the day as before.
CREATE TABLE model_usage_daily (
    user_id       uuid NOT NULL REFERENCES users (id),
    provider      text NOT NULL,
    day           date NOT NULL, -- UTC
    calls         bigint NOT NULL CHECK (calls >= 0),
    input_tokens  bigint NOT NULL CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
    PRIMARY KEY (user_id, provider, day)
) WITH (fillfactor = 50); -- counted up in place

ALTER TABLE agents ADD COLUMN provider text;

-- engine, thread_id and final_text are there since 0002. engine becomes what 'auto' turned out to be when the run ends.
ALTER TABLE runs ADD COLUMN model text, -- asked for; null: the engine's own
    ADD COLUMN provider text,
    ADD COLUMN usage jsonb CHECK (jsonb_typeof(usage) = 'object'); -- of the run's model calls, by the gateway's sums
CREATE INDEX runs_thread ON runs (project_id, thread_id) WHERE thread_id IS NOT NULL;
