-- +goose Up

ALTER TABLE auth.keys
	ADD COLUMN signs_from timestamptz, -- of the next one
	ADD COLUMN expires_at timestamptz; -- of one that was replaced: it verifies until then

-- There is one next key.
CREATE UNIQUE INDEX keys_next ON auth.keys ((signs_from IS NOT NULL)) WHERE signs_from IS NOT NULL;
