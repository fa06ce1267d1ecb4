// Package edge is the pipeline that every call from outside goes through. The
// proxy has an Edge for gRPC, the gateway one for HTTP. Admit decides on a call,
// in this order (admit.go):
//
//   - who is calling: identity.go, apitoken.go
//   - in which namespace: identity.go
//   - whether its API token, its role and the rules let it: rules.go, refusal.go
//   - whether the namespace takes calls, and so many of them: tenant.go, held.go
//   - whether there is room: limits.go, and anonymous.go for those without an account
//   - where it goes: route.go for the platform's own methods, routes.go for services
//
// The Call that was let in then goes on as bytes, for an Edge knows no message
// type: by Forward from gRPC (forward.go, incoming.go), by Invoke and Stream from
// JSON (call.go), or by a Client from generated code (client.go). Calls to a
// service take the better of its nodes (node.go, link.go), and another one if
// that breaks off (again.go). A call is counted (meter.go), and ends when it would
// not be let in any more (open.go).
//
// An Edge calls auth, registry, namespaces and usage, and every component that has
// an API for people. The first three push revocations and rules, routes, and
// tenants to it. It keeps nothing but calls that usage has not taken yet: what is
// in memory comes back by itself.
package edge
