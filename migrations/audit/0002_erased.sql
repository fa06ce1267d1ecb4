-- +goose Up
-- Deletions of namespaces whose logs were removed, or are being. Rows are only
-- added, so that no log goes without a trace; an entry in the operators' log says
-- the same.
CREATE TABLE audit.erased (
	namespace  text        NOT NULL,
	deleted_at timestamptz NOT NULL, -- when somebody deleted the namespace
	erased_at  timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, deleted_at)
);
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON audit.erased FOR EACH ROW EXECUTE FUNCTION audit.keep();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit.erased EXECUTE FUNCTION audit.keep();

-- +goose StatementBegin
CREATE FUNCTION audit.keep_unless_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	-- What is much later is of another namespace, which has the name by now.
	IF NOT EXISTS (SELECT FROM audit.erased WHERE namespace = OLD.namespace AND OLD.at < erased_at + interval '30 days') THEN
		RAISE EXCEPTION 'the audit log is only ever added to';
	END IF;
	RETURN OLD;
END
$$;
-- +goose StatementEnd
DROP TRIGGER keep ON audit.entries;
CREATE TRIGGER keep BEFORE UPDATE ON audit.entries FOR EACH ROW EXECUTE FUNCTION audit.keep();
CREATE TRIGGER keep_erased BEFORE DELETE ON audit.entries FOR EACH ROW EXECUTE FUNCTION audit.keep_unless_erased();
