// Package audit keeps what was done in each namespace: every change by its
// members and programs, and everything that an operator did in it. The
// platform's other components tell it of a call before they carry it out
// (internal/audit), and how it ended after that.
//
// It owns the log. Rows are only added, which the database enforces, and each
// has a hash of itself and of the row before it, so that a change of the past
// shows.
//
// The log of a namespace that is erased goes, too, as the last of it: in the
// operators' log there is one entry then that says so.
//
// Tables: entries has the rows, chains the end of each namespace's chain, erased
// the namespaces whose rows may be removed.
package audit
