// Package tenants knows what each namespace may take: its plan and limits, and
// whether it is suspended or held back. Component namespaces pushes all of it,
// so Of answers from memory and never waits, but for the first snapshot after a
// start. While namespaces is away what was known last holds; before the first
// snapshot Of is Unavailable.
//
// Namespaces that are on the default plan, with nothing else to know, take no
// memory; the others share the limits of their plan.
package tenants
