-- +goose Up

-- A namespace exists for others once its owner's account does: active_at.
CREATE TABLE namespaces.namespaces (
	namespace  text        NOT NULL PRIMARY KEY,
	owner      text        NOT NULL, -- account: the address as it was typed, in lower case
	mailbox    text        NOT NULL, -- the address in the form that all its spellings share
	created_at timestamptz NOT NULL DEFAULT now(),
	active_at  timestamptz
);

CREATE UNIQUE INDEX one_per_mailbox ON namespaces.namespaces (mailbox);

-- The code that was last sent to a mailbox, as a digest that needs the cluster
-- secret. Known mailboxes have one too, which nobody was told.
CREATE TABLE namespaces.codes (
	mailbox    text        NOT NULL PRIMARY KEY,
	digest     bytea       NOT NULL,
	attempts   integer     NOT NULL DEFAULT 0, -- that were wrong
	expires_at timestamptz NOT NULL
);

CREATE INDEX codes_by_expiry ON namespaces.codes (expires_at);

-- Owners' accounts that auth has to make, written with the namespace and
-- removed when it is done.
CREATE TABLE namespaces.outbox (
	namespace     text        NOT NULL PRIMARY KEY REFERENCES namespaces.namespaces ON DELETE CASCADE,
	account       text        NOT NULL,
	password_hash text        NOT NULL,
	attempts      integer     NOT NULL DEFAULT 0,
	next_at       timestamptz NOT NULL
);

CREATE INDEX outbox_by_time ON namespaces.outbox (next_at);
