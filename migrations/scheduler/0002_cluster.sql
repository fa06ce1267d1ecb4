-- +goose Up

-- The id that this platform's things in Docker bear, since the first start. It has
-- one row.
CREATE TABLE scheduler.cluster (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	id  text    NOT NULL
);
