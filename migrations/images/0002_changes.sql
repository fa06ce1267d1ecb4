-- +goose Up

-- When a repository was last changed, or was about to be, for as long as a sweep
-- may have to look at it again.
CREATE TABLE images.changes (
	repository text        PRIMARY KEY,
	at         timestamptz NOT NULL
);

CREATE INDEX changes_by_time ON images.changes (at);
