-- +goose Up
-- When the registry was last swept, whoever led then. It has one row.
CREATE TABLE images.sweeps (
	one  boolean     PRIMARY KEY DEFAULT true CHECK (one),
	last timestamptz NOT NULL
);
