-- +goose Up

-- How many rows the figures of a namespace have on a day, and whether endpoints
-- and members are still apart.
CREATE TABLE usage.series (
	namespace text    NOT NULL,
	day       date    NOT NULL,
	rows      integer NOT NULL,
	detailed  boolean NOT NULL DEFAULT true,
	PRIMARY KEY (namespace, day)
);

CREATE INDEX series_by_day ON usage.series (day, namespace);

INSERT INTO usage.series (namespace, day, rows)
SELECT namespace, day, count(*)
FROM usage.days
GROUP BY namespace, day;
