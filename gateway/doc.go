// Package gateway is the HTTP edge. It turns a path into a service and its
// endpoint, a request into JSON, and a gRPC answer back into HTTP; whether a
// call is let in, and where it goes, the Edge of package edge decides, which
// the gateway has one of. Below /platform/v1/ it serves the platform's own REST
// API, whose handlers are generated from the protos and call through the same
// Edge.
//
// It is called by browsers, scripts and the console, calls every component that
// has an API for people, and keeps nothing.
package gateway
