// Package outside says what is the public internet: all that the platform may
// connect to on behalf of a tenant.
package outside
