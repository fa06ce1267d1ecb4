-- +goose Up

-- Keys that stay when the cluster secret, with which they are sealed, is exchanged.
CREATE TABLE images.mac_keys (
	purpose text  PRIMARY KEY,
	sealed  bytea NOT NULL
);
