// Package lost recognises that a database or another component cannot be reached
// now, so that whoever calls may try again.
package lost
