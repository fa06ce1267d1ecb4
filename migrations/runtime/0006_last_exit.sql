-- +goose Up

-- How an instance of a revision that runs ended last.
ALTER TABLE runtime.revisions ADD COLUMN last_exit text NOT NULL DEFAULT '';
