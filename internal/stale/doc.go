// Package stale keeps copies of what is elsewhere and may be reached late, for
// who can do with a copy that is a little old. Those who need a newer one share
// one reading of it. When that is late or fails, they go on with the copy that
// there is, up to MaxAge.
package stale
