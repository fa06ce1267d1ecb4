// Package local runs the servers that a laptop has none of, Postgres and two
// Redis, as children of this process: real ones, with their data below one
// directory, on loopback only, and gone when this process is.
package local
