// Package rating is the arithmetic of what usage costs. It is pure: integers in,
// integers out.
package rating
