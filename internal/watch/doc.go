// Package watch has both ends of the streams by which a component tells others
// what it knows, and from then on each change of it: Feed is the component's end,
// Follow that of whoever keeps a copy, which has use for it from First on.
package watch
