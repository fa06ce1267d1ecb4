-- +goose Up

-- What a namespace may take. One without a plan follows the server's default;
-- limits holds those that are its own, by name.
ALTER TABLE namespaces.namespaces
	ADD COLUMN plan          text,
	ADD COLUMN limits        jsonb NOT NULL DEFAULT '{}',
	ADD COLUMN suspended_at  timestamptz,
	ADD COLUMN suspended_for text;

-- What edges and components must be told of: few of all namespaces.
CREATE INDEX namespaces_that_differ ON namespaces.namespaces (namespace)
	WHERE plan IS NOT NULL OR limits <> '{}' OR suspended_at IS NOT NULL;

-- What holds services of a namespace back; service is empty for all of them.
CREATE TABLE namespaces.throttles (
	namespace text        NOT NULL REFERENCES namespaces.namespaces ON DELETE CASCADE,
	service   text        NOT NULL,
	action    smallint    NOT NULL, -- namespaces.Action
	reason    text        NOT NULL,
	since     timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, service)
);
