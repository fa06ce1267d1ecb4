-- +goose Up

-- What was counted last of each thing whose own figure only grows: a container,
-- an attempt at a build, a counter of bytes, what is stored. The row changes in
-- the transaction that counts.
CREATE TABLE usage.meters (
	namespace    text        NOT NULL,
	meter        text        NOT NULL, -- "container 1f3a…", "build greeter/latest/3/1", "egress …", "stored records"
	counted_till timestamptz NOT NULL,
	value        bigint      NOT NULL, -- bytes, where the meter is of bytes
	rest         bigint      NOT NULL, -- what is not yet a whole unit
	seen_at      timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, meter)
);

CREATE INDEX meters_by_time ON usage.meters (seen_at);

INSERT INTO usage.meters (namespace, meter, counted_till, value, rest)
SELECT namespace, 'container ' || container, counted_till, 0, 0
FROM usage.containers;
