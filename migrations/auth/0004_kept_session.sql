-- +goose Up

-- The login by which a secret was changed goes on; '' for none.
ALTER TABLE auth.revocations ADD COLUMN kept_session text NOT NULL DEFAULT '';
