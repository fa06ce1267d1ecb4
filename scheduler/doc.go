// Package scheduler turns desired deployments into containers and says what
// became of them. It owns the services and networks with its labels on the
// Docker host; it is called by the runtime, and by components only; it calls
// Docker. It has no tables: Docker is the truth, and Postgres lends it the lock
// that makes one of several schedulers the leader.
//
// plan is what a deployment means, without Docker; swarm drives Docker.
package scheduler
