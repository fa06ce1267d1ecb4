// Package swarm runs deployments on Docker in Swarm mode: a Swarm service per
// deployment, a bridge network per namespace. Placement, restarts and rolling
// changes are Swarm's; the package tells it what to do and reports what became
// of it.
//
// What runs is read from Docker at every turn. A Driver remembers only what
// Docker does not know: which containers were seen to answer, and since when.
package swarm
