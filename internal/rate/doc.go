// Package rate limits how often something may happen, across processes: a token
// bucket for each key is in Redis, and every process leases blocks of tokens
// from it, about as many as it needs in a tenth of a second. So a decision is
// made in memory. It waits for Redis only when a block was too small or is the
// first, and then not for long.
//
// What is granted never exceeds the burst and the rate together: tokens that are
// not used are given back after a second. When more is wanted than there is,
// each process gets a share in proportion to its calls.
//
// While Redis is away, each process allows the limit divided by the number of
// processes that there were, and says so in its log.
package rate
