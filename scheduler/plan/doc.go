// Package plan turns a desired deployment into what the scheduler asks Docker
// for: names, labels, environment and limits. It is pure, so the same
// deployment always gives the same plan, and with it the same hash.
package plan
