-- +goose Up

-- What happened to services and is still to be published on the topic runtime of
-- their namespace. It is written with the change itself.
CREATE TABLE runtime.news (
	id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	namespace  text        NOT NULL,
	type       text        NOT NULL,
	name       text        NOT NULL,
	version    text        NOT NULL,
	source     text        NOT NULL DEFAULT '',
	metadata   jsonb       NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now()
);
