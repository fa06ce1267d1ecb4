// Package abuse bounds what anybody can make the platform do: so many times in so
// much time, for an address, a mailbox, or all together. The counters are in Redis
// and may be lost; keys say of nobody whom they are about. What a tenant may take
// is for packages tenants and rate.
package abuse
