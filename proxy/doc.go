// Package proxy is the gRPC edge: a server for clients (proxy.go) and one for
// tenants' containers (containers.go), which say of a call where it came from,
// have package edge admit it and forward it, and put its error into words that
// old clients read. Package egress, which it serves as well, is the containers'
// way out.
//
// The tests here call the edge as its clients do, over gRPC; they show what
// package edge does, too.
package proxy
