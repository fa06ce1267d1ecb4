// Package containers looks at the containers of services on this host: whether
// they run, where they answer, who is connected to them and how they ended. The
// scheduler of a host by itself uses it directly, and that of several hosts by
// way of the component host of each.
package containers
