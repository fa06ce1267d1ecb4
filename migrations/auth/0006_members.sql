-- +goose Up

-- A person has one password, and accounts in one namespace or more. The secret
-- of a person's account is the person's, the one in the account counts for
-- nothing.
CREATE TABLE auth.people (
	mailbox      text        PRIMARY KEY, -- the form that all spellings of the address share
	secret       text        NOT NULL,
	factor       bytea,       -- the secret of an authenticator, sealed
	factor_since timestamptz, -- null until it is confirmed
	factor_step  bigint      NOT NULL DEFAULT 0, -- of the last code that was good: none counts twice
	created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE auth.recovery_codes (
	mailbox text  NOT NULL REFERENCES auth.people ON DELETE CASCADE,
	digest  bytea NOT NULL, -- with a key that is not here
	PRIMARY KEY (mailbox, digest)
);

ALTER TABLE auth.accounts ADD COLUMN person text REFERENCES auth.people;

CREATE INDEX accounts_by_person ON auth.accounts (person) WHERE person IS NOT NULL;

-- One person may own several namespaces.
DROP INDEX auth.accounts_owner;

-- The last order about a member that was carried out. It outlives the account,
-- so that an older one that comes late does not bring it back.
CREATE TABLE auth.member_orders (
	namespace text   NOT NULL,
	account   text   NOT NULL,
	version   bigint NOT NULL,
	PRIMARY KEY (namespace, account)
);

-- What namespaces want of their members.
CREATE TABLE auth.policies (
	namespace     text    PRIMARY KEY,
	second_factor boolean NOT NULL,
	version       bigint  NOT NULL
);

-- Who signed up so far is a person.
CREATE TEMPORARY TABLE signed_up ON COMMIT DROP AS
	SELECT namespace, id, secret, created_at, CASE
		WHEN split_part(id, '@', 2) IN ('gmail.com', 'googlemail.com')
			THEN replace(regexp_replace(split_part(id, '@', 1), '(.)\+.*$', '\1'), '.', '') || '@gmail.com'
		ELSE regexp_replace(split_part(id, '@', 1), '(.)\+.*$', '\1') || '@' || split_part(id, '@', 2)
		END AS mailbox
	FROM auth.accounts
	WHERE owner AND type = 'user' AND id LIKE '%_@_%';

INSERT INTO auth.people (mailbox, secret, created_at)
	SELECT DISTINCT ON (mailbox) mailbox, secret, created_at FROM signed_up ORDER BY mailbox, created_at;

UPDATE auth.accounts AS a SET person = s.mailbox, scopes = array_append(a.scopes, 'role:owner')
	FROM signed_up AS s
	WHERE a.namespace = s.namespace AND a.id = s.id;
