-- +goose Up

-- The deployed service that a node is of, empty for a program of an admin's. It
-- is the name that the service was deployed under, not the one in its code.
ALTER TABLE registry.nodes ADD COLUMN deployed text NOT NULL DEFAULT '';
