-- The scheduler has no tables: Docker is the truth. It has a role for its
-- leader lock.

-- +goose Up
SELECT 1;
