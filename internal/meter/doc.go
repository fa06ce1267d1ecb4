// Package meter counts calls so that none is lost. An edge appends a Record for
// each call to a Log, which is files that are mapped into memory: to append is
// no system call, and what was appended is in the kernel's hands, so that it
// outlives the process however that ends. Ship sends the records to the
// component usage, which folds each of them once, and deletes what it has.
//
// A log is a directory of segments. A segment is a file of fixed size: a header,
// then records one after the other, then zeros. The first four bytes of a record
// are its length and are written last, so a record is whole or not there. What a
// power cut has torn shows by the records' checksums.
//
// A record's identity is its place: log, segment and offset. Each start of an
// edge begins a log of its own and leaves those of earlier starts to be shipped,
// so no place ever has two records, not even after a directory was restored from
// a copy.
package meter
