-- +goose Up

-- A revision that is held has an image and no containers: its namespace is
-- suspended, or its service stopped. It starts when that is lifted.
ALTER TABLE runtime.revisions ADD COLUMN held boolean NOT NULL DEFAULT false;
