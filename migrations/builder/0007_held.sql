-- +goose Up

-- Until when a queued build keeps from nobody else the place that it cannot take.
ALTER TABLE builder.builds ADD COLUMN held_until timestamptz;
