// Package telemetry shows operators how a process is: whether what it stands on
// is there, numbers for Prometheus, and traces. Nothing in it names a tenant, or
// grows with what callers make up.
package telemetry
