// Package host is what stands on every Docker host of an installation that has
// several: it tells the scheduler what only the host itself can see of its
// containers, makes the edges on it members of the namespaces' networks, and
// passes the platform's images on to its Docker.
//
// It owns nothing and has no table. The scheduler calls it; it calls the Docker
// of its host, and needs root there.
package host
