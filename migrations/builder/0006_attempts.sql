-- +goose Up

-- The attempts that have ended, until they are counted.
CREATE TABLE builder.attempts (
	namespace  text        NOT NULL,
	service    text        NOT NULL,
	version    text        NOT NULL,
	revision   bigint      NOT NULL,
	attempt    integer     NOT NULL,
	started_at timestamptz NOT NULL,
	ended_at   timestamptz NOT NULL,
	PRIMARY KEY (namespace, service, version, revision, attempt, started_at)
);

CREATE INDEX attempts_by_time ON builder.attempts (ended_at);

-- Every attempt that ends is counted, however it ends. One whose worker died
-- ended with its last sign of life.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION builder.count_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	ended timestamptz := now();
BEGIN
	IF OLD.heartbeat_at < now() - interval '5 seconds' THEN
		ended := greatest(OLD.heartbeat_at, OLD.started_at);
	END IF;
	INSERT INTO builder.minutes (namespace, month, seconds)
	VALUES (OLD.namespace, date_trunc('month', now() AT TIME ZONE 'UTC'), extract(epoch FROM ended - OLD.started_at))
	ON CONFLICT (namespace, month) DO UPDATE SET seconds = minutes.seconds + EXCLUDED.seconds;
	INSERT INTO builder.attempts (namespace, service, version, revision, attempt, started_at, ended_at)
	VALUES (OLD.namespace, OLD.service, OLD.version, OLD.revision, OLD.attempt, OLD.started_at, ended);
	RETURN NULL;
END
$$;
-- +goose StatementEnd
