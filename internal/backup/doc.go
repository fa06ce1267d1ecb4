// Package backup writes all that a platform keeps into one encrypted archive,
// and makes a platform of it again.
//
// An archive is a tar, compressed by zstd and encrypted by age
// (age-encryption.org/v1), for public keys or a passphrase. Its entries:
//
//	head.json          what made it, when
//	cluster-secret     what the secrets in the database are sealed with
//	postgres/000000…   pg_dump's custom format, in pieces
//	redis/0/000000…    an RDB file of each durable Redis server, in pieces
//	bucket/KEY         each object
//	end.json           what there is to be: rows of each table, keys, objects
//
// Postgres comes first and the bucket last: rows and records name objects, and
// an object is there before anything names it. So what is in the archive is
// whole, but for objects that were deleted while it was made.
package backup
