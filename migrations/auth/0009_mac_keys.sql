-- +goose Up

-- Keys that stay when the cluster secret, with which they are sealed, is exchanged.
CREATE TABLE auth.mac_keys (
	purpose text  PRIMARY KEY,
	sealed  bytea NOT NULL
);
