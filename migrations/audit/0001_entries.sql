-- +goose Up

-- What was done in a namespace: a row when a call begins, and one when it ends,
-- with begun as the first one's id. Rows are only ever added.
CREATE TABLE audit.entries (
	namespace    text        NOT NULL,
	id           bigint      NOT NULL,
	begun        bigint      NOT NULL DEFAULT 0, -- of the end of a call: the id of its beginning
	at           timestamptz NOT NULL,
	account      text        NOT NULL DEFAULT '',
	account_type text        NOT NULL DEFAULT '',
	operator     boolean     NOT NULL DEFAULT false,
	session      text        NOT NULL DEFAULT '',
	address      text        NOT NULL DEFAULT '',
	request_id   text        NOT NULL DEFAULT '',
	action       text        NOT NULL DEFAULT '',
	target       jsonb       NOT NULL DEFAULT '{}',
	outcome      text        NOT NULL DEFAULT '', -- of the end of a call
	hash         bytea       NOT NULL,            -- of this row and of the hash before it
	PRIMARY KEY (namespace, id)
);

CREATE UNIQUE INDEX one_end ON audit.entries (namespace, begun) WHERE begun > 0;
CREATE INDEX entries_by_account ON audit.entries (namespace, account, id) WHERE begun = 0;
CREATE INDEX entries_by_time ON audit.entries (namespace, at) WHERE begun = 0;

-- Where each namespace's chain ends.
CREATE TABLE audit.chains (
	namespace text   NOT NULL PRIMARY KEY,
	last      bigint NOT NULL DEFAULT 0,
	hash      bytea  NOT NULL DEFAULT ''
);

-- +goose StatementBegin
CREATE FUNCTION audit.keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'the audit log is only ever added to';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON audit.entries FOR EACH ROW EXECUTE FUNCTION audit.keep();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit.entries EXECUTE FUNCTION audit.keep();
