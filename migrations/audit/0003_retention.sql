-- +goose Up
-- Where each namespace's chain begins, when its first rows were removed for
-- their age: the last of them, and the hash that the next one stands on. It only
-- ever moves on.
CREATE TABLE audit.checkpoints (
	namespace  text        NOT NULL PRIMARY KEY,
	last       bigint      NOT NULL,
	hash       bytea       NOT NULL,
	at         timestamptz NOT NULL, -- of that row
	removed_at timestamptz NOT NULL DEFAULT now()
);

-- +goose StatementBegin
CREATE FUNCTION audit.move_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.namespace <> OLD.namespace OR NEW.last <= OLD.last OR NEW.at < OLD.at THEN
		RAISE EXCEPTION 'the beginning of an audit log only ever moves on';
	END IF;
	RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER move_on BEFORE UPDATE ON audit.checkpoints FOR EACH ROW EXECUTE FUNCTION audit.move_on();

-- +goose StatementBegin
CREATE FUNCTION audit.keep_unless_old() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM audit.checkpoints WHERE namespace = OLD.namespace AND OLD.id <= last) THEN
		RETURN OLD;
	END IF;
	-- What is much later is of another namespace, which has the name by now.
	IF EXISTS (SELECT FROM audit.erased WHERE namespace = OLD.namespace AND OLD.at < erased_at + interval '30 days') THEN
		RETURN OLD;
	END IF;
	RAISE EXCEPTION 'the audit log is only ever added to';
END
$$;
-- +goose StatementEnd
DROP TRIGGER keep_erased ON audit.entries;
CREATE TRIGGER keep_unless_old BEFORE DELETE ON audit.entries FOR EACH ROW EXECUTE FUNCTION audit.keep_unless_old();

-- A namespace may be looked for old rows by its first one.
CREATE INDEX entries_by_age ON audit.entries (at);
