-- +goose Up

-- One row per node of a version of a service. What a version is made of, its
-- endpoints and metadata, is in versions; both go when their last node goes.
CREATE TABLE registry.versions (
	namespace  text        NOT NULL,
	service    text        NOT NULL,
	version    text        NOT NULL,
	metadata   jsonb       NOT NULL DEFAULT '{}',
	endpoints  bytea       NOT NULL, -- a registry.Service with endpoints only
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, service, version)
);

CREATE TABLE registry.nodes (
	namespace  text        NOT NULL,
	service    text        NOT NULL,
	version    text        NOT NULL,
	id         text        NOT NULL,
	address    text        NOT NULL,
	port       bigint      NOT NULL DEFAULT 0,
	metadata   jsonb       NOT NULL DEFAULT '{}',
	account    text        NOT NULL, -- whose token registered it
	expires_at timestamptz,          -- null does not expire
	PRIMARY KEY (namespace, service, version, id),
	FOREIGN KEY (namespace, service, version) REFERENCES registry.versions ON DELETE CASCADE
);

CREATE INDEX nodes_by_expiry ON registry.nodes (expires_at) WHERE expires_at IS NOT NULL;
