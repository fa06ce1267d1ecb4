// Package plans is the catalogue of what a namespace may take and what that
// costs: data, used by enforcement, the console and billing alike. It reads and
// checks the catalogue, and stores nothing.
package plans
