// Package runtime owns the desired state of tenants' services: what was asked
// for, the revisions made of it, what became of them and why.
//
// Who calls it: the CLI, the console and tenants' own services, through the
// edges. What it calls: builder (source to image), auth (an account for each
// revision), scheduler (image to containers), registry (has it registered,
// and is the old revision gone) and events (what happened, on the topic runtime
// of the namespace).
//
// Requests only change the database and answer at once. A reconciler, in one
// process at a time, brings every revision to where it should be, one step
// after the other (state.go); a step that a crash cut short is done again, so
// each is safe to repeat. docs/runtime.md has the picture.
//
// Tables, schema runtime: services, revisions, uploads (sources in the bucket),
// requests (idempotency keys) and news (events that are to be published).
package runtime
