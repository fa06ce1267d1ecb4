// Package multihost runs the platform over several hosts on one machine, and
// loses them.
//
// A Rig is a switch and three hosts, each with network, mounts, process numbers
// and a dockerd of its own, joined to one Swarm. A Site is the platform apart
// over them: databases beside the hosts, components as supervised processes on
// two of them, edges as containers on all. Clients call through every edge on
// schedule, so that a stall counts as what it is. The report is a table of what
// was measured, with what must hold.
//
// It takes root and a Linux that can do all that; elsewhere the tests say what
// is missing and skip. `make test` runs the short form, `make multihost` all.
package multihost
