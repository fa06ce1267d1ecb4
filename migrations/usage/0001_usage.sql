-- +goose Up

-- How far each log of calls is folded. A log's segments come in order, so that
-- its last one says it all. The row changes in the transaction that counts.
CREATE TABLE usage.logs (
	log       bytea       PRIMARY KEY,
	segment   bigint      NOT NULL,
	position  bigint      NOT NULL, -- in bytes, from the segment's beginning
	folded_at timestamptz NOT NULL DEFAULT now()
);

-- What was used, by day of UTC.
CREATE TABLE usage.days (
	namespace          text   NOT NULL,
	day                date   NOT NULL,
	service            text   NOT NULL,
	endpoint           text   NOT NULL, -- empty for those that nobody has described
	account            text   NOT NULL, -- empty for calls without one, and for what is no call
	class              text   NOT NULL, -- empty for what is no call
	calls              bigint NOT NULL DEFAULT 0,
	refused            bigint NOT NULL DEFAULT 0,
	bytes_in           bigint NOT NULL DEFAULT 0,
	bytes_out          bigint NOT NULL DEFAULT 0,
	cpu_milli_seconds  bigint NOT NULL DEFAULT 0,
	memory_mib_seconds bigint NOT NULL DEFAULT 0,
	egress_bytes       bigint NOT NULL DEFAULT 0,
	stored_byte_hours  bigint NOT NULL DEFAULT 0,
	build_seconds      bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (namespace, day, service, endpoint, account, class)
);

-- The same by month and service, for what is decided often: budgets, quotas.
CREATE TABLE usage.months (
	namespace          text        NOT NULL,
	month              date        NOT NULL, -- its first day
	service            text        NOT NULL,
	calls              bigint      NOT NULL DEFAULT 0,
	refused            bigint      NOT NULL DEFAULT 0,
	bytes_in           bigint      NOT NULL DEFAULT 0,
	bytes_out          bigint      NOT NULL DEFAULT 0,
	cpu_milli_seconds  bigint      NOT NULL DEFAULT 0,
	memory_mib_seconds bigint      NOT NULL DEFAULT 0,
	egress_bytes       bigint      NOT NULL DEFAULT 0,
	stored_byte_hours  bigint      NOT NULL DEFAULT 0,
	build_seconds      bigint      NOT NULL DEFAULT 0,
	changed_at         timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, month, service)
);

CREATE INDEX months_by_change ON usage.months (changed_at);

-- What was counted last of a container, whose own figures only grow.
CREATE TABLE usage.containers (
	namespace    text        NOT NULL,
	container    text        NOT NULL,
	counted_till timestamptz NOT NULL,
	egress_bytes bigint      NOT NULL,
	PRIMARY KEY (namespace, container)
);

CREATE INDEX containers_by_time ON usage.containers (counted_till);

-- What is counted once: "build greeter/latest/3/1", "hour 2026-11-21T14 store".
CREATE TABLE usage.counted (
	namespace  text        NOT NULL,
	what       text        NOT NULL,
	counted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, what)
);

CREATE INDEX counted_by_time ON usage.counted (counted_at);
