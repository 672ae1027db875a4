-- Legal holds, the chain of custody of evidence, its signed days. Nothing has written to the custody table of 0003, or to the hold columns
-- of evidence_bundles, before.

-- A hold covers a run, a project (its runs and workspace), or, with neither, all that a user has. Released ones stay. noted: the chains of
-- all it covers say so; until the chains say that it was released, it is in force.
CREATE TABLE holds (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id       uuid NOT NULL REFERENCES users (id),
    project_id    uuid, -- of a held run too
    run_id        uuid REFERENCES runs (id),
    reason        text NOT NULL CHECK (octet_length(reason) BETWEEN 1 AND 1024),
    held_by       uuid NOT NULL REFERENCES api_keys (id),
    held_from     text, -- address of the client
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    released_by   uuid REFERENCES api_keys (id),
    released_from text,
    released_at   timestamptz,
    noted         boolean NOT NULL DEFAULT false,
    in_force      boolean NOT NULL GENERATED ALWAYS AS (released_at IS NULL OR NOT noted) STORED,
    FOREIGN KEY (project_id, user_id) REFERENCES projects (id, user_id),
    CHECK (run_id IS NULL OR project_id IS NOT NULL),
    CHECK ((released_at IS NULL) = (released_by IS NULL))
);
CREATE UNIQUE INDEX holds_live ON holds (user_id, project_id, run_id) NULLS NOT DISTINCT WHERE released_at IS NULL;
CREATE INDEX holds_in_force ON holds (user_id) WHERE in_force;
CREATE INDEX holds_unnoted ON holds (created_at) WHERE NOT noted;
CREATE INDEX holds_page ON holds (user_id, created_at DESC, id DESC);

-- Whether a hold in force covers a run, or, with a null run, anything of the project. Volatile on purpose: called after a row lock was waited for,
-- it sees what was committed meanwhile; a subquery would see what the statement saw when it began.
CREATE FUNCTION held(the_user uuid, the_project uuid, the_run uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN EXISTS (SELECT 1 FROM holds h WHERE h.user_id = the_user AND h.in_force AND (h.project_id IS NULL
        OR (h.project_id = the_project AND (h.run_id IS NULL OR the_run IS NULL OR h.run_id = the_run))));
END
$$;

-- One predicate in place of a flag per bundle. The index on the flag goes with it.
ALTER TABLE evidence_bundles DROP COLUMN legal_hold, DROP COLUMN hold_reason, DROP COLUMN held_at;
CREATE INDEX evidence_bundles_expiring ON evidence_bundles (created_at, id) WHERE status = 'ready';
CREATE INDEX evidence_bundles_owner ON evidence_bundles (user_id, project_id, status); -- what a hold covers

DROP TABLE custody;

-- Where each chain is: its row is locked to append. run_id: of a run or of a workflow run.
CREATE TABLE custody_chains (
    run_id  uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id), -- whose evidence it is
    lines   bigint NOT NULL DEFAULT 0 CHECK (lines >= 0),
    head    text NOT NULL CHECK (octet_length(head) = 64), -- what the next line's "prev" is
    last_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What was done with a run's evidence and by whom. Format: docs/formats/custody.md.
CREATE TABLE custody (
    run_id  uuid NOT NULL REFERENCES custody_chains (run_id),
    seq     bigint NOT NULL CHECK (seq >= 0),
    user_id uuid NOT NULL,
    ts      timestamptz NOT NULL,
    day     date NOT NULL GENERATED ALWAYS AS ((ts AT TIME ZONE 'UTC')::date) STORED,
    type    text NOT NULL CHECK (type IN ('created', 'downloaded', 'verified', 'held', 'released', 'purged', 'lost', 'found')),
    actor   text NOT NULL, -- API key id, or "system"
    hold_id uuid REFERENCES holds (id), -- of held and released
    line    text NOT NULL, -- the chained bytes
    digest  bytea NOT NULL CHECK (octet_length(digest) = 32), -- SHA-256 of line
    PRIMARY KEY (run_id, seq)
);
CREATE INDEX custody_day ON custody (day, run_id, seq);
CREATE INDEX custody_hold ON custody (hold_id, run_id) WHERE hold_id IS NOT NULL;
CREATE TRIGGER custody_append_only BEFORE UPDATE OR DELETE ON custody
    FOR EACH ROW EXECUTE FUNCTION custody_refuse_change();
CREATE TRIGGER custody_no_truncate BEFORE TRUNCATE ON custody
    FOR EACH STATEMENT EXECUTE FUNCTION custody_refuse_change();

-- The days that take no more lines, of all tenants; head null: still being signed.
CREATE TABLE custody_days (
    day         date PRIMARY KEY,
    head        text, -- the signed bytes
    head_sha256 text CHECK (head_sha256 ~ '^[0-9a-f]{64}$'),
    key_id      text,
    signature   text, -- base64, over the DSSE pre-authentication encoding of head
    signed_at   timestamptz,
    CHECK (num_nulls(head, head_sha256, key_id, signature, signed_at) IN (0, 5))
);
CREATE INDEX custody_days_unsigned ON custody_days (day) WHERE head IS NULL;
CREATE FUNCTION custody_days_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.head IS NULL AND NEW.day = OLD.day THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a signed day of custody does not change';
END
$$;
CREATE TRIGGER custody_days_fixed BEFORE UPDATE OR DELETE ON custody_days
    FOR EACH ROW EXECUTE FUNCTION custody_days_refuse_change();

-- Where a line stands in the tree of its day, and the hashes that lead from it to the root: 32 bytes each, from the leaf up.
CREATE TABLE custody_proofs (
    run_id  uuid NOT NULL,
    seq     bigint NOT NULL,
    user_id uuid NOT NULL,
    day     date NOT NULL REFERENCES custody_days (day),
    leaf    bigint NOT NULL CHECK (leaf >= 0),
    path    bytea NOT NULL CHECK (octet_length(path) % 32 = 0),
    PRIMARY KEY (run_id, seq),
    FOREIGN KEY (run_id, seq) REFERENCES custody (run_id, seq)
);

-- The chains' clock. A function of its own so that a test can set it.
CREATE FUNCTION custody_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT clock_timestamp()';

-- A member of a line: ,"name":value
CREATE FUNCTION custody_fact(name text, value anyelement) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT ',"' || name || '":' || coalesce(to_json(value)::text, 'null')
$$;

-- Append one line to the chain of the_run, which belongs to owner. by_key null: the system itself. facts: what custody_fact made.
-- The shared lock (any number that nothing else here locks: "ARP cust" in ASCII) is what closing a day waits for; time is read under it.
-- Time never goes back in a chain, nor into a day that is closed, whatever the clock does.
CREATE FUNCTION custody_append(the_run uuid, owner uuid, what text, by_key uuid, by_user uuid, address text, zip_sha256 text, facts text,
    of_hold uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    chain custody_chains;
    stamp timestamptz;
    bytes text;
    hash  bytea;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(4706912660593406836);
    INSERT INTO custody_chains (run_id, user_id, head, last_at) VALUES (the_run, owner,
        encode(sha256(convert_to(E'arp-chain-v1\n' || the_run || E'\ncustody.jsonl\n', 'UTF8')), 'hex'), '-infinity')
        ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT chain FROM custody_chains WHERE run_id = the_run AND user_id = owner FOR NO KEY UPDATE;
    stamp := date_trunc('milliseconds', greatest(custody_now(), chain.last_at,
        (SELECT max(day) + 1 FROM custody_days)::timestamp AT TIME ZONE 'UTC'));
    bytes := '{"ts":"' || to_char(stamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '","runId":"' || the_run || '","type":"'
        || what || '"' || custody_fact('actor', coalesce(by_key::text, 'system')) || custody_fact('userId', by_user)
        || custody_fact('remote', address) || custody_fact('zipSha256', 'sha256:' || zip_sha256) || facts
        || ',"seq":' || chain.lines || ',"prev":"' || chain.head || '"}';
    hash := sha256(convert_to(bytes, 'UTF8'));
    INSERT INTO custody (run_id, seq, user_id, ts, type, actor, hold_id, line, digest)
        VALUES (the_run, chain.lines, owner, stamp, what, coalesce(by_key::text, 'system'), of_hold, bytes, hash);
    UPDATE custody_chains SET lines = lines + 1, head = encode(hash, 'hex'), last_at = stamp WHERE run_id = the_run;
    RETURN chain.lines;
END
$$;

-- What a hold is on: run, project or user.
CREATE FUNCTION hold_scope(h holds) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN h.run_id IS NOT NULL THEN 'run' WHEN h.project_id IS NOT NULL THEN 'project' ELSE 'user' END
$$;

-- The line of a hold, in the chain of a run it covers: that it was placed, or released.
CREATE FUNCTION custody_of_hold(h holds, the_run uuid, what text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    by_key uuid := CASE what WHEN 'held' THEN h.held_by ELSE h.released_by END;
BEGIN
    RETURN custody_append(the_run, h.user_id, what, by_key, (SELECT k.user_id FROM api_keys k WHERE k.id = by_key),
        CASE what WHEN 'held' THEN h.held_from ELSE h.released_from END, NULL, custody_fact('holdId', h.id)
        || custody_fact('scope', hold_scope(h)) || custody_fact('reason', h.reason), h.id);
END
$$;

-- Note the live holds that cover a run in its chain, where they are not: how many were. The caller has locked the owner's row in users FOR
-- SHARE, before he took the chain: who places or releases a hold takes the one for itself and then the others. Volatile on purpose: what was
-- released before the lock was had is not live here, what is released after it finds these lines.
CREATE FUNCTION custody_note_holds(the_user uuid, the_project uuid, the_run uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    done bigint;
BEGIN
    PERFORM custody_of_hold(h, the_run, 'held') FROM holds h WHERE h.user_id = the_user AND h.released_at IS NULL AND h.run_id IS NULL
        AND (h.project_id IS NULL OR h.project_id = the_project)
        AND NOT EXISTS (SELECT 1 FROM custody c WHERE c.hold_id = h.id AND c.run_id = the_run);
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END
$$;

-- Note a hold, or its release, in the chains of at most so many runs. A hold may cover any number, and a statement must end in time: the
-- rest is for the next call. A run that gets its evidence while the hold is live is noted then (bundles_set_ready).
CREATE FUNCTION hold_note(h holds, most integer) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    done integer;
BEGIN
    IF h.released_at IS NULL THEN
        PERFORM custody_of_hold(h, s.run_id, 'held') FROM (SELECT b.run_id FROM evidence_bundles b WHERE b.user_id = h.user_id
            AND (h.project_id IS NULL OR b.project_id = h.project_id) AND (h.run_id IS NULL OR b.run_id = h.run_id) AND b.status <> 'deleted'
            AND NOT EXISTS (SELECT 1 FROM custody c WHERE c.hold_id = h.id AND c.run_id = b.run_id)
            ORDER BY b.run_id LIMIT most) s;
    ELSE
        PERFORM custody_of_hold(h, s.run_id, 'released') FROM (SELECT c.run_id FROM custody c WHERE c.hold_id = h.id AND c.type = 'held'
            AND NOT EXISTS (SELECT 1 FROM custody d WHERE d.hold_id = h.id AND d.run_id = c.run_id AND d.type = 'released')
            ORDER BY c.run_id LIMIT most) s;
    END IF;
    GET DIAGNOSTICS done = ROW_COUNT;
    UPDATE holds SET noted = true WHERE id = h.id AND done < most;
END
$$;

-- hold_note for one that is not noted yet; false: there is none. NO KEY: a line being written that refers to the hold does not keep it away.
CREATE FUNCTION hold_note_next(most integer) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    h holds;
BEGIN
    SELECT * INTO h FROM holds WHERE NOT noted ORDER BY created_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM hold_note(h, most);
    RETURN true;
END
$$;

-- Place a hold: on a run, on a project (null run), on all a user has (both null). outcome: made; there (a live one on the same target, which
-- stays as it is); deleted (the run's evidence is gone); missing. covered, gone: bundles it keeps, and that were deleted before. The user's
-- row is locked against collectors, who share it while they decide: every statement after the lock sees what they did, and after this one
-- commits they see the hold.
CREATE FUNCTION hold_place(the_user uuid, the_project uuid, the_run uuid, why text, by_key uuid, address text, note_at_once integer,
    OUT outcome text, OUT hold holds, OUT covered bigint, OUT gone bigint) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    outcome := 'missing';
    PERFORM 1 FROM users WHERE id = the_user FOR NO KEY UPDATE;
    IF FOUND AND the_run IS NOT NULL THEN
        SELECT r.project_id INTO the_project FROM runs r WHERE r.id = the_run AND r.user_id = the_user;
    ELSIF FOUND AND the_project IS NOT NULL THEN
        PERFORM 1 FROM projects p WHERE p.id = the_project AND p.user_id = the_user;
    END IF;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT count(*) FILTER (WHERE b.status <> 'deleted'), count(*) FILTER (WHERE b.status = 'deleted') INTO covered, gone
        FROM evidence_bundles b WHERE b.user_id = the_user AND (the_project IS NULL OR b.project_id = the_project)
        AND (the_run IS NULL OR b.run_id = the_run);
    SELECT * INTO hold FROM holds h WHERE h.user_id = the_user AND h.released_at IS NULL
        AND h.project_id IS NOT DISTINCT FROM the_project AND h.run_id IS NOT DISTINCT FROM the_run;
    IF FOUND THEN
        outcome := 'there';
        RETURN;
    END IF;
    IF the_run IS NOT NULL AND gone > 0 THEN
        outcome := 'deleted';
        RETURN;
    END IF;
    INSERT INTO holds (user_id, project_id, run_id, reason, held_by, held_from)
        VALUES (the_user, the_project, the_run, why, by_key, address) RETURNING * INTO hold;
    IF the_run IS NOT NULL THEN
        PERFORM custody_of_hold(hold, the_run, 'held'); -- here, as a run in progress has no evidence row yet
    END IF;
    PERFORM hold_note(hold, note_at_once);
    outcome := 'made';
END
$$;

-- Release the live hold on a target, if there is one: whether there was.
CREATE FUNCTION hold_release(the_user uuid, the_project uuid, the_run uuid, by_key uuid, address text, note_at_once integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    hold holds;
BEGIN
    PERFORM 1 FROM users WHERE id = the_user FOR NO KEY UPDATE;
    UPDATE holds h SET released_at = clock_timestamp(), released_by = by_key, released_from = address, noted = false
        WHERE h.user_id = the_user AND h.released_at IS NULL AND h.run_id IS NOT DISTINCT FROM the_run
        AND (the_run IS NOT NULL OR h.project_id IS NOT DISTINCT FROM the_project) RETURNING * INTO hold;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM hold_note(hold, note_at_once);
    RETURN true;
END
$$;

-- The next day that is over and not signed; null: there is none.
CREATE FUNCTION custody_due_day() RETURNS date LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    next_day date;
BEGIN
    SELECT min(day) INTO next_day FROM custody_days WHERE head IS NULL; -- begun before a crash
    IF next_day IS NULL THEN
        SELECT coalesce((SELECT max(day) + 1 FROM custody_days), (SELECT min(day) FROM custody)) INTO next_day;
    END IF;
    RETURN CASE WHEN next_day < (custody_now() AT TIME ZONE 'UTC')::date THEN next_day END;
END
$$;

-- The same, closed to further lines by this very call. Waits for the lines being written; takes that lock only when a day is due.
CREATE FUNCTION custody_close_day() RETURNS date LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    next_day date;
BEGIN
    IF custody_due_day() IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(4706912660593406836);
    next_day := custody_due_day();
    INSERT INTO custody_days (day) SELECT next_day WHERE next_day IS NOT NULL ON CONFLICT DO NOTHING;
    RETURN next_day;
END
$$;
