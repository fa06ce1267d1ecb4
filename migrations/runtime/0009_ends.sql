-- +goose Up

-- Ends of containers that somebody had asked for are kept beside the crashes, for
-- their last lines.
ALTER TABLE runtime.crashes ADD COLUMN asked boolean NOT NULL DEFAULT false;
