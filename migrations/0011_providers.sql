-- A deleted provider leaves no row: nothing read those that did, and a tenant that made one and deleted it again and again filled the table.

DELETE FROM providers WHERE deleted_at IS NOT NULL;

DROP INDEX providers_name;
ALTER TABLE providers DROP CONSTRAINT providers_check1; -- which knew of deleted ones
ALTER TABLE providers
    DROP COLUMN id,
    DROP COLUMN deleted_at,
    ADD PRIMARY KEY (user_id, name),
    ADD CHECK ((key_cipher IS NULL) = (auth = 'none'));
