-- +goose Up
-- When the image of a revision was last found to be gone, and built again.
ALTER TABLE runtime.revisions ADD COLUMN unbuilt_at timestamptz;
