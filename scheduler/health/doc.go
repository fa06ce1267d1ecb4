// Package health finds out whether a container is ready for calls: its port
// listens and, if it serves grpc.health.v1, that says SERVING. What it asks may
// be anybody's program, so an answer is small, has a deadline, and is not
// believed to be well-formed.
package health
