-- +goose Up

-- One row per service that is wanted, or was until a moment ago: deleted_at is
-- set while its containers, builds and sources are being removed.
CREATE TABLE runtime.services (
	namespace     text        NOT NULL,
	name          text        NOT NULL,
	version       text        NOT NULL,
	source        text        NOT NULL,
	spec          bytea       NOT NULL, -- sealed: what the next revision is made of
	metadata      jsonb       NOT NULL DEFAULT '{}',
	owner         text        NOT NULL,
	last_revision bigint      NOT NULL DEFAULT 0,
	started_at    timestamptz NOT NULL DEFAULT now(), -- of the last create or update
	deleted_at    timestamptz,
	PRIMARY KEY (namespace, name, version)
);

CREATE INDEX services_deleted ON runtime.services (deleted_at) WHERE deleted_at IS NOT NULL;

-- One row per attempt to build and run a service. account is set from before
-- the first thing outside this database exists for a revision (an account, a
-- deployment) until after the last is gone.
CREATE TABLE runtime.revisions (
	namespace text        NOT NULL,
	name      text        NOT NULL,
	version   text        NOT NULL,
	number    bigint      NOT NULL,
	state     text        NOT NULL CHECK (state IN ('pending', 'building', 'starting', 'running', 'stopping', 'stopped', 'error')),
	reason    text        NOT NULL DEFAULT '',
	since     timestamptz NOT NULL DEFAULT now(),
	source    text        NOT NULL,
	spec      bytea       NOT NULL, -- sealed
	upload    text        NOT NULL DEFAULT '',
	image     text        NOT NULL DEFAULT '',
	commit    text        NOT NULL DEFAULT '',
	account   text        NOT NULL DEFAULT '',
	secret    bytea,                -- sealed: the account's
	ran_at    timestamptz,          -- when it first served
	tail      text        NOT NULL DEFAULT '', -- the last lines of a start that failed
	PRIMARY KEY (namespace, name, version, number),
	FOREIGN KEY (namespace, name, version) REFERENCES runtime.services ON DELETE CASCADE
);

CREATE INDEX revisions_at_work ON runtime.revisions (since)
	WHERE state IN ('pending', 'building', 'starting', 'stopping') OR state = 'error' AND account <> '' AND ran_at IS NULL;

-- Sources in the bucket. A row exists before its blob and is ready after it.
CREATE TABLE runtime.uploads (
	namespace  text        NOT NULL,
	key        text        NOT NULL,
	name       text        NOT NULL,
	version    text        NOT NULL,
	ready      boolean     NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, key)
);

CREATE INDEX uploads_by_service ON runtime.uploads (namespace, name, version, created_at DESC);

-- Answers to requests that came with an idempotency key, for a day.
CREATE TABLE runtime.requests (
	namespace  text        NOT NULL,
	key        text        NOT NULL,
	hash       bytea       NOT NULL,
	revision   bigint      NOT NULL DEFAULT 0,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, key)
);

-- +goose StatementBegin
-- Every change of a service or of one of its revisions wakes the watchers of
-- that service and the reconciler, in whichever process they are.
CREATE FUNCTION runtime.notify_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	IF TG_OP = 'DELETE' THEN r := OLD; ELSE r := NEW; END IF;
	PERFORM pg_notify('runtime', r.namespace || '/' || r.name || '/' || r.version);
	RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER services_changed AFTER INSERT OR UPDATE OR DELETE ON runtime.services
	FOR EACH ROW EXECUTE FUNCTION runtime.notify_change();

CREATE TRIGGER revisions_changed AFTER INSERT OR UPDATE OR DELETE ON runtime.revisions
	FOR EACH ROW EXECUTE FUNCTION runtime.notify_change();
