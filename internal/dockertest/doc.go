// Package dockertest starts a Docker of a test's own that runs containers in
// gVisor, in a network of its own: the machine's Docker, its bridges and its
// swarm are left alone.
package dockertest
