package restore

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/micro/platform/internal/archive"
)

// Archive is an archive that was read to its end and is whole.
type Archive struct {
	archive.Manifest
	// Digest identifies it.
	Digest string
	// Members are the people who were in the namespace.
	Members []archive.Member

	file     io.ReadSeeker
	parts    map[string]archive.Part
	services []archive.Service
	rules    []archive.Rule
	values   []archive.Value
	blobs    map[string]bool
	// What the store says of it.
	keys, bytes int64
}

// maxKept bounds what of an archive is held in memory, in records of each kind.
// A namespace has far fewer.
const maxKept = 100_000

// Open reads an archive to its end.
func Open(file io.ReadSeeker) (*Archive, error) {
	a := &Archive{file: file, parts: map[string]archive.Part{}, blobs: map[string]bool{}}
	r, err := archive.NewReader(file)
	if err != nil {
		return nil, err
	}
	for {
		f, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = a.look(f)
		}
		if err != nil {
			return nil, err
		}
	}
	a.Manifest, a.Digest, _ = r.Manifest()
	for _, p := range a.Parts {
		a.parts[p.Name] = p
	}
	return a, nil
}

// look keeps what has to be known before anything is written. The kind of a part
// is the beginning of its name; the manifest, which has it too, comes last.
func (a *Archive) look(f archive.File) error {
	if f.Ext == ".data" {
		if f.Part == string(archive.Blobs) {
			a.bytes += int64(len(f.Content))
		}
		return nil
	}
	if len(a.services) > maxKept || len(a.rules) > maxKept || len(a.values) > maxKept || len(a.blobs) > 10*maxKept || len(a.Members) > maxKept {
		return fmt.Errorf("the archive has more in part %s than a namespace can have", f.Part)
	}
	switch kind := f.Kind(); kind {
	case archive.Members:
		return archive.Lines(f, keep(&a.Members))
	case archive.Rules:
		return archive.Lines(f, keep(&a.rules))
	case archive.Config:
		return archive.Lines(f, keep(&a.values))
	case archive.Services:
		return archive.Lines(f, keep(&a.services))
	case archive.Blobs:
		return archive.Lines(f, func(b archive.Blob) error {
			a.blobs[b.Key] = true
			return nil
		})
	case archive.Store:
		return archive.Lines(f, func(r archive.Record) error {
			a.keys++
			a.bytes += recordSize(r)
			return nil
		})
	default:
		return nil
	}
}

func keep[T any](to *[]T) func(T) error {
	return func(v T) error {
		*to = append(*to, v)
		return nil
	}
}

// recordSize is how the store counts a record, about.
func recordSize(r archive.Record) int64 {
	n := len(r.Key) + len(r.Value.Bytes())
	for k, v := range r.Metadata {
		n += len(k) + len(v)
	}
	return int64(n)
}

// document makes the config of its leaves: those that are secrets, or the
// others. Opened are the values of secrets by path.
func document(values []archive.Value, opened map[string]json.RawMessage, secrets bool) (map[string]any, error) {
	root := map[string]any{}
	for _, v := range values {
		text := v.Value
		if v.Secret {
			text = opened[v.Path]
		}
		if v.Secret != secrets || text == nil {
			continue
		}
		if err := put(root, v.Path, text); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// Selection is what is imported.
type Selection map[archive.Kind]bool

// Select reads a list of services, config, store, events, rules; an empty one is
// all of them.
func Select(names []string) (Selection, error) {
	known := map[string][]archive.Kind{
		"services": {archive.Services}, "config": {archive.Config}, "rules": {archive.Rules},
		"store": {archive.Store, archive.Blobs}, "events": {archive.Events, archive.Groups},
	}
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(known))
	}
	out := Selection{}
	for _, name := range names {
		kinds, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%q: services, config, store, events and rules are possible", name)
		}
		for _, k := range kinds {
			out[k] = true
		}
	}
	return out, nil
}
