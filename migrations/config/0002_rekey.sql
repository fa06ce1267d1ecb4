-- +goose Up

-- How far an exchange of the keys has come: secrets of the namespaces up to this
-- one are sealed with the newest key.
ALTER TABLE config.keys ADD COLUMN resealed text NOT NULL DEFAULT '';
