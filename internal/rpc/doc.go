// Package rpc makes the gRPC servers and clients of the platform's components,
// with the house's interceptors: panics recovered, the caller verified, every
// call bounded, errors turned into what callers may see, traces and metrics.
package rpc
