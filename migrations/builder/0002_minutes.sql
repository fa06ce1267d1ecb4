-- +goose Up

-- When the attempt began that a worker has.
ALTER TABLE builder.builds ADD COLUMN started_at timestamptz;

-- How long the builds of a namespace took in a calendar month of UTC. It stays
-- when builds are forgotten.
CREATE TABLE builder.minutes (
	namespace text             NOT NULL,
	month     date             NOT NULL, -- its first day
	seconds   double precision NOT NULL,
	PRIMARY KEY (namespace, month)
);

-- Every attempt that ends is counted, however it ends.
-- +goose StatementBegin
CREATE FUNCTION builder.count_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO builder.minutes (namespace, month, seconds)
	VALUES (OLD.namespace, date_trunc('month', now() AT TIME ZONE 'UTC'), extract(epoch FROM now() - OLD.started_at))
	ON CONFLICT (namespace, month) DO UPDATE SET seconds = minutes.seconds + EXCLUDED.seconds;
	RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER attempt_ended AFTER UPDATE ON builder.builds
	FOR EACH ROW WHEN (OLD.phase = 1 AND NEW.phase <> 1 AND OLD.started_at IS NOT NULL)
	EXECUTE FUNCTION builder.count_attempt();
