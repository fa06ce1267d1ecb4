package config

import (
	"bytes"
	"encoding/json"
	"strings"
)

// document is a tree. A node is a document; everything else is a leaf: a
// string, json.Number, bool, nil, []any or secret.
type document map[string]any

// secret is a leaf that is sealed.
type secret []byte

// stored is how a document is kept: JSON with null where a secret is, and the
// secrets by their paths.
type stored struct {
	Version  int64
	Document []byte
	Secrets  map[string]secret
}

// load reads what save made.
func (s stored) load() (document, error) {
	v, err := decode(s.Document)
	if err != nil {
		return nil, err
	}
	d := v.(document) // save wrote one
	for path, sealed := range s.Secrets {
		d.put(strings.Split(path, "."), sealed)
	}
	return d, nil
}

// save is the opposite of load; it leaves the version to others.
func (d document) save() (stored, error) {
	s := stored{Secrets: map[string]secret{}}
	plain := d.leaves("", func(path string, leaf any) any {
		if sealed, ok := leaf.(secret); ok {
			s.Secrets[path] = sealed
			return nil
		}
		return leaf
	})
	var err error
	s.Document, err = encode(plain)
	return s, err
}

// get answers what is at a path. Arrays are leaves: nothing is inside them.
func (d document) get(path []string) any {
	var v any = d
	for _, key := range path {
		node, ok := v.(document)
		if !ok {
			return nil
		}
		v = node[key]
	}
	return v
}

// put places a value at a path of at least one key. What is in the way gives
// way.
func (d document) put(path []string, v any) {
	for _, key := range path[:len(path)-1] {
		node, ok := d[key].(document)
		if !ok {
			node = document{}
			d[key] = node
		}
		d = node
	}
	d[path[len(path)-1]] = v
}

// remove takes away what is at a path, and everything for the empty one.
func (d document) remove(path []string) {
	if len(path) == 0 {
		clear(d)
		return
	}
	node, ok := d.get(path[:len(path)-1]).(document)
	if ok {
		delete(node, path[len(path)-1])
	}
}

// merge writes the leaves of v below a path. An object without leaves changes
// nothing.
func (d document) merge(path []string, v any) {
	node, ok := v.(document)
	if !ok {
		d.put(path, v)
		return
	}
	for key, child := range node {
		d.merge(append(path[:len(path):len(path)], key), child)
	}
}

// leaves answers the tree with each leaf exchanged for what change makes of it.
func (d document) leaves(prefix string, change func(path string, leaf any) any) document {
	out := make(document, len(d))
	for key, v := range d {
		path := join(prefix, key)
		if node, ok := v.(document); ok {
			out[key] = node.leaves(path, change)
		} else {
			out[key] = change(path, v)
		}
	}
	return out
}

// keepHidden is change, but for secrets that come back as they were shown: who
// reads a part without its secrets, and writes it back, leaves them alone.
func (d document) keepHidden(change func(path string, leaf any) any) func(path string, leaf any) any {
	return func(path string, leaf any) any {
		if leaf == any(hidden) {
			if sealed, ok := d.get(strings.Split(path, ".")).(secret); ok {
				return sealed
			}
		}
		return change(path, leaf)
	}
}

// count answers how many leaves there are.
func (d document) count() int {
	n := 0
	for _, v := range d {
		if node, ok := v.(document); ok {
			n += node.count()
		} else {
			n++
		}
	}
	return n
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// encode writes compact JSON, keys sorted, numbers as they came.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
