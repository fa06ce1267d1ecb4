// Package proxy is the tenant-aware edge. An Edge decides on every call from
// outside, in this order: who is calling, in which namespace, whether the rules
// let them, whether there is room, and where the call goes. Then the bytes go
// on as they are: an Edge knows no message type.
//
// Two components have an Edge each: this one, for gRPC, and the gateway, for
// HTTP. They call auth and registry, which push rules, revocations and routes
// to them, and every component that has an API for people. They keep nothing:
// what is in memory comes back by itself.
package proxy
