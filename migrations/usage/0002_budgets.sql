-- +goose Up

-- What namespaces want to spend in a month. Without a row for the namespace as a
-- whole the server's default holds.
CREATE TABLE usage.budgets (
	namespace  text        NOT NULL,
	service    text        NOT NULL, -- empty for the namespace
	cap        bigint      NOT NULL, -- in the smallest unit of the plan's currency
	action     smallint    NOT NULL, -- usage.BudgetAction
	account    text        NOT NULL, -- who set it
	changed_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, service)
);

-- The mails that have gone out, one for each step of a budget in a month.
CREATE TABLE usage.alerts (
	namespace  text        NOT NULL,
	service    text        NOT NULL,
	month      date        NOT NULL,
	cap        bigint      NOT NULL, -- another cap has mails of its own
	percent    smallint    NOT NULL,
	alerted_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (namespace, service, month, cap, percent)
);

-- What the namespaces' components were told last.
CREATE TABLE usage.throttles (
	namespace text     NOT NULL,
	service   text     NOT NULL,
	action    smallint NOT NULL, -- namespaces.Action
	reason    text     NOT NULL,
	PRIMARY KEY (namespace, service)
);
