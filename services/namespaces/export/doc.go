// Package export collects what a namespace has from the components that keep it,
// and writes it as an archive (internal/archive). It asks in the platform's own
// name, for one namespace, page by page: whatever a namespace has, no more than a
// page and a file of the archive are in memory.
package export
