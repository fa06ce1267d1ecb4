// Package full recognises that storage of the platform is full: a disk of one of
// its processes or of Postgres, or Redis' disk or memory.
package full
