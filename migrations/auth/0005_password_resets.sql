-- +goose Up

-- A code for whoever forgot a password. There is a row for everything that
-- somebody typed, whether it is an account or not.
CREATE TABLE auth.password_resets (
	subject    bytea       PRIMARY KEY, -- namespace and id as they were typed, hidden
	digest     bytea       NOT NULL,    -- of the code, with a key that is not here
	attempts   integer     NOT NULL DEFAULT 0,
	expires_at timestamptz NOT NULL
);

CREATE INDEX password_resets_by_expiry ON auth.password_resets (expires_at);
