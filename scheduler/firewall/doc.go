// Package firewall keeps the containers of a platform's namespaces off what is
// not theirs: the host they run on, its neighbours, a cloud's metadata, other
// namespaces. It does so with a table of nftables of its own, micro_<cluster>.
//
// A table of one's own, since it is replaced as a whole and in one step, since
// Docker, which makes its own chains anew whenever it likes, never touches it,
// and since what it refuses nobody can allow again: a verdict to drop is final
// in nftables, one to accept is not. So platforms on one host cannot disturb
// each other, and a table that was left behind concerns interfaces that are
// there no more.
package firewall
