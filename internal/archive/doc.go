// Package archive writes and reads the file that a namespace is taken along in:
// a tar of small files, through gzip. docs/leaving.md says what is in it, for
// people without this program.
//
// The file is a sequence of parts, each a folder of numbered files: lines of
// JSON, or objects, which have a header each and bytes after it. The first file
// is about.json, the last manifest.json, which has the number of records and the
// SHA-256 of each part: an archive without it was cut off. Writer and Reader
// hold one file of a part in memory, whatever the size of the archive.
//
// An archive may come from anybody. Reader bounds all that it takes in, expects
// what Writer writes and nothing else, and hands out no path: nothing of an
// archive becomes a name of a file.
package archive
