-- +goose Up

-- A person may make more than the namespace of signing up. One that came of
-- signing up keeps its mailbox from doing so again, as long as who did is a
-- member.
ALTER TABLE namespaces.namespaces
	ADD COLUMN signed_up             boolean NOT NULL DEFAULT true,
	ADD COLUMN require_second_factor boolean NOT NULL DEFAULT false;

DROP INDEX namespaces.one_per_mailbox;
CREATE UNIQUE INDEX one_per_mailbox ON namespaces.namespaces (mailbox) WHERE signed_up;

CREATE TABLE namespaces.members (
	namespace text        NOT NULL REFERENCES namespaces.namespaces ON DELETE CASCADE,
	account   text        NOT NULL, -- in auth
	mailbox   text        NOT NULL, -- whose it is: one person, whatever the namespace
	role      text        NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer', 'billing')),
	since     timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, account),
	CONSTRAINT once_a_member UNIQUE (namespace, mailbox)
);

CREATE INDEX members_by_mailbox ON namespaces.members (mailbox, namespace);

INSERT INTO namespaces.members (namespace, account, mailbox, role, since)
	SELECT namespace, owner, mailbox, 'owner', created_at FROM namespaces.namespaces;

-- Invitations that are open. The code is not here, only a digest that needs the
-- cluster secret.
CREATE TABLE namespaces.invites (
	namespace  text        NOT NULL REFERENCES namespaces.namespaces ON DELETE CASCADE,
	id         text        NOT NULL,
	mailbox    text        NOT NULL,
	address    text        NOT NULL, -- where it was mailed to
	role       text        NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer', 'billing')),
	digest     bytea       NOT NULL,
	invited_by text        NOT NULL, -- account
	created_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (namespace, id),
	CONSTRAINT once_invited UNIQUE (namespace, mailbox)
);

CREATE UNIQUE INDEX invites_by_digest ON namespaces.invites (digest);
CREATE INDEX invites_by_expiry ON namespaces.invites (expires_at);

-- What auth has yet to be told: about a member, or with an empty account about
-- the namespace. There is one order for each; a later one takes its place.
CREATE SEQUENCE namespaces.order_versions;

CREATE TABLE namespaces.member_orders (
	namespace     text        NOT NULL REFERENCES namespaces.namespaces ON DELETE CASCADE,
	account       text        NOT NULL,
	version       bigint      NOT NULL DEFAULT nextval('namespaces.order_versions'),
	mailbox       text        NOT NULL,
	role          text        NOT NULL, -- '' is none any more
	second_factor boolean     NOT NULL DEFAULT false, -- of an order about the namespace
	password_hash text        NOT NULL DEFAULT '',    -- of a person who is new
	attempts      integer     NOT NULL DEFAULT 0,
	next_at       timestamptz NOT NULL,
	PRIMARY KEY (namespace, account)
);

CREATE INDEX member_orders_by_time ON namespaces.member_orders (next_at);
