// Package grants is what an API token may do: a list of grants, each written
// "service:endpoint:access". Auth checks them when a token is made, edges ask
// Allow with each call.
//
// Access "write" is everything. Access "read" is what does not change state. Of
// the platform's own methods the table in reads.go says which those are. What
// an endpoint of a tenant's service does, its code decides; the platform goes
// by the name: one that begins with a verb of reading, such as Notes.List.
package grants
