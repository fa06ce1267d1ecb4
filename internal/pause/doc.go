// Package pause waits, though no longer than a context lives.
package pause
