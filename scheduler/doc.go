// Package scheduler turns desired deployments into containers and says what
// became of them. It owns the services and networks with its labels on the
// Docker host; it is called by the runtime, and by components only; it calls
// Docker. Docker is the truth: its one table has the cluster's id, by which it
// finds what is its own, and Postgres lends it the lock that makes one of several
// schedulers the leader.
//
// plan is what a deployment means, without Docker; swarm drives Docker.
package scheduler
