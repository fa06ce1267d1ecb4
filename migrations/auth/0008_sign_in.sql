-- +goose Up

-- Accounts elsewhere with which people sign in.
CREATE TABLE auth.links (
	provider   text        NOT NULL,
	subject    text        NOT NULL, -- the account there, for good
	mailbox    text        NOT NULL REFERENCES auth.people ON DELETE CASCADE,
	email      text        NOT NULL, -- as the provider said when it was linked
	created_at timestamptz NOT NULL DEFAULT now(),
	used_at    timestamptz,
	PRIMARY KEY (provider, subject)
);

CREATE INDEX links_by_person ON auth.links (mailbox);

-- Passkeys of people.
CREATE TABLE auth.passkeys (
	id         bytea       NOT NULL PRIMARY KEY, -- as the authenticator calls it
	mailbox    text        NOT NULL REFERENCES auth.people ON DELETE CASCADE,
	name       text        NOT NULL,
	credential jsonb       NOT NULL, -- the public key and what came with it
	uses       bigint      NOT NULL, -- the authenticator's counter
	created_at timestamptz NOT NULL DEFAULT now(),
	used_at    timestamptz,
	CONSTRAINT passkeys_name UNIQUE (mailbox, name)
);
