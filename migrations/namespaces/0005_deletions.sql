-- +goose Up
-- Namespaces that somebody has deleted. The row outlives the namespace, so that
-- its name is not taken again too soon.
CREATE TABLE namespaces.deletions (
	namespace  text        PRIMARY KEY,
	state      text        NOT NULL CHECK (state IN ('deleting', 'erasing', 'erased')),
	account    text        NOT NULL, -- that deleted it
	operator   boolean     NOT NULL,
	reason     text        NOT NULL,
	deleted_at timestamptz NOT NULL DEFAULT now(),
	erase_at   timestamptz NOT NULL, -- until then it can be undeleted
	warn_at    timestamptz,          -- when its owners get a mail; null once they have
	next_at    timestamptz,          -- when the next process goes on erasing
	settled_at timestamptz,          -- when nothing comes late any more
	erased_at  timestamptz,
	free_at    timestamptz           -- when the name may be taken again; null is never
);
CREATE INDEX deletions_by_time ON namespaces.deletions (erase_at) WHERE state = 'deleting';
CREATE INDEX deletions_by_work ON namespaces.deletions (next_at) WHERE state = 'erasing';

-- How far each component has come.
CREATE TABLE namespaces.erasures (
	namespace   text        NOT NULL REFERENCES namespaces.deletions ON DELETE CASCADE,
	component   text        NOT NULL,
	started_at  timestamptz NOT NULL DEFAULT now(),
	calls       bigint      NOT NULL DEFAULT 0,
	done_at     timestamptz,
	verified_at timestamptz, -- done once more, after settled_at
	error       text        NOT NULL DEFAULT '', -- of the last call
	PRIMARY KEY (namespace, component)
);

-- There was another namespace of this name before.
ALTER TABLE namespaces.namespaces ADD COLUMN reborn boolean NOT NULL DEFAULT false;
