-- +goose Up

-- Which of the builds that a namespace may have at once a running one is, from
-- 0: each has a cache of its own.
ALTER TABLE builder.builds ADD COLUMN slot integer NOT NULL DEFAULT 0;
