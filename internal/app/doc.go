// Package app runs components: all of them in one process, or one alone. A
// component is the same code either way. It is given a Host, which connects it
// to its database and to the other components, in memory when they are in this
// process and over the network when they are not, and which owns everything
// that the component starts.
package app
