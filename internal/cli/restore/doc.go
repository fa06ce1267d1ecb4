// Package restore imports the archive of a namespace (internal/archive) into a
// namespace of any server, by what its members may call: what the plan there
// allows, what names mean and who may do it is decided by the components, as
// always.
//
// Open reads the archive to its end before anything is written: a damaged one
// changes nothing. An Import goes through it again and writes it, part by part.
// How far it is, the server keeps, so that the same archive goes on where it was
// cut off; what it writes twice is the same as what it writes once.
package restore
