-- +goose Up
-- Namespaces that were erased, for as long as a token of one may be about: those
-- with an epoch below this one are refused.
CREATE TABLE auth.erased (
	namespace  text        PRIMARY KEY,
	epoch      bigint      NOT NULL,
	expires_at timestamptz NOT NULL
);
