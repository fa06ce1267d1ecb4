// Package source understands what people give to micro run: a directory on
// this machine, which it packs for the upload, or a git repository, which the
// platform fetches.
package source
