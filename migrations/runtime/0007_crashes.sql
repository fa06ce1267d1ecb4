-- +goose Up

-- How containers of a service ended that nobody had asked to: the last ones, of
-- all revisions, which outlive the containers.
CREATE TABLE runtime.crashes (
	namespace     text        NOT NULL,
	name          text        NOT NULL,
	version       text        NOT NULL,
	container     text        NOT NULL,
	revision      bigint      NOT NULL,
	at            timestamptz NOT NULL,
	exit_code     bigint      NOT NULL,
	signal        bigint      NOT NULL,
	out_of_memory boolean     NOT NULL,
	reason        text        NOT NULL,
	lines         jsonb       NOT NULL, -- [{"at": milliseconds, "text": ...}]
	PRIMARY KEY (namespace, name, version, container),
	FOREIGN KEY (namespace, name, version) REFERENCES runtime.services ON DELETE CASCADE
);

-- How many of a revision's containers have ended so, and when the last one did.
ALTER TABLE runtime.revisions
	ADD COLUMN restarts   bigint NOT NULL DEFAULT 0,
	ADD COLUMN crashed_at timestamptz;
