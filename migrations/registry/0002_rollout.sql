-- +goose Up

-- When a node was registered last, other than to be renewed: a process that had
-- its address before and has ended must not take it along.
ALTER TABLE registry.nodes ADD COLUMN registered_at timestamptz NOT NULL DEFAULT now();
