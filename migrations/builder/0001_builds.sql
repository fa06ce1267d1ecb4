-- +goose Up

-- One row per build, from the request on. The jobs that run them are River's;
-- this is what is true of a build.
CREATE TABLE builder.builds (
	namespace    text        NOT NULL,
	service      text        NOT NULL,
	version      text        NOT NULL,
	revision     bigint      NOT NULL,
	phase        smallint    NOT NULL DEFAULT 0, -- builder.State.Phase
	step         text        NOT NULL DEFAULT '',
	reason       text        NOT NULL DEFAULT '',
	image        text        NOT NULL DEFAULT '',
	commit       text        NOT NULL DEFAULT '',
	source       text        NOT NULL,
	upload       text        NOT NULL,
	ref          text        NOT NULL,
	entrypoint   text        NOT NULL,
	credentials  bytea,                          -- sealed; gone when the build ends
	attempt      integer     NOT NULL DEFAULT 0, -- of the worker that has it; a later one takes over
	heartbeat_at timestamptz,                    -- of that worker
	created_at   timestamptz NOT NULL DEFAULT now(),
	ended_at     timestamptz,
	PRIMARY KEY (namespace, service, version, revision)
);

-- The builds in hand, which are few.
CREATE INDEX builds_by_phase ON builder.builds (phase, namespace) WHERE phase IN (0, 1);

-- What the builds say, in pieces as they come.
CREATE TABLE builder.logs (
	namespace text   NOT NULL,
	service   text   NOT NULL,
	version   text   NOT NULL,
	revision  bigint NOT NULL,
	seq       bigint GENERATED ALWAYS AS IDENTITY,
	data      bytea  NOT NULL,
	PRIMARY KEY (namespace, service, version, revision, seq),
	FOREIGN KEY (namespace, service, version, revision) REFERENCES builder.builds ON DELETE CASCADE
);
