package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/micro/platform/internal/app"
)

const (
	sweepTime = 30 * time.Minute
	listPage  = 50_000 // a bucket in the file system walks all of it for each page
	listAgain = 10
	// batchTime is for how long objects are removed before changes get their turn,
	// and maxChanged how many repositories are looked at again before; where more
	// have changed, another sweep has to do.
	batchTime  = 2 * time.Second
	maxChanged = 1000
)

// sweepLoop sweeps now and then, until ctx ends.
func (s *Service) sweepLoop(ctx context.Context) error {
	return app.Every(ctx, min(s.opts.Sweep, time.Minute), func() {
		if err := s.sweepIfDue(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("images that nobody needs were not removed", "error", err)
		}
	})
}

func (s *Service) sweepIfDue(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	due, err := s.db.due(ctx, s.opts.Sweep)
	if err != nil || !due {
		return err
	}
	removed, err := s.sweep(ctx)
	if removed > 0 {
		s.log.Info("images that nobody needs were removed", "objects", removed)
	}
	return err
}

// sweep removes what no tag leads to and is old, and answers how many objects
// that were. What there is to remove is looked for while pushes go on. It is
// removed without them, after another look at the repositories that have changed
// meanwhile: so a push either ends before, and its image is seen, or finds out
// that a part of it is gone and pushes that, too.
func (s *Service) sweep(ctx context.Context) (removed int, err error) {
	began, err := s.db.begin(ctx)
	if err != nil {
		return 0, err
	}
	look, cutoff := looker{bucket: s.store.Bucket, read: map[object][]byte{}}, s.now().Add(-s.opts.Age)
	garbage, err := look.garbage(ctx, cutoff)
	for err == nil && len(garbage) > 0 {
		var n int
		n, garbage, err = s.removeSome(ctx, look, garbage, began, cutoff)
		removed += n
	}
	return removed, err
}

// removeSome removes what is still garbage, without pushes, for batchTime. It
// answers how much, and what is left.
func (s *Service) removeSome(ctx context.Context, look looker, garbage []string, began, cutoff time.Time) (n int, left []string, err error) {
	locked := s.db.with(ctx, lockAlone, func(held func() error) {
		var changed []string
		if changed, err = s.db.changed(ctx, began, maxChanged+1); err != nil {
			return
		}
		if len(changed) > maxChanged {
			err = fmt.Errorf("more than %d repositories have changed since the look", maxChanged)
			return
		}
		if left, err = look.still(ctx, garbage, changed, cutoff); err != nil {
			return
		}
		for until := time.Now().Add(batchTime); len(left) > 0 && time.Now().Before(until); n++ {
			if err = held(); err != nil {
				return
			}
			if err = s.remove(ctx, left[0]); err != nil {
				return
			}
			left = left[1:]
		}
	})
	return n, left, errors.Join(locked, err)
}

// remove removes an object and, where the bucket is in the file system, the
// folders that are empty without it.
func (s *Service) remove(ctx context.Context, key string) error {
	if err := s.store.Bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("remove %s: %w", key, err)
	}
	if s.store.Dir == "" {
		return nil
	}
	for folder := path.Dir(key); len(folder) >= len(root); folder = path.Dir(folder) {
		if os.Remove(filepath.Join(s.store.Dir, filepath.FromSlash(folder))) != nil {
			break // it is not empty
		}
	}
	return nil
}

// object is one in the bucket.
type object struct {
	key      string
	modified time.Time
}

// looker finds garbage. It remembers what it read while it looks again.
type looker struct {
	bucket *blob.Bucket
	read   map[object][]byte
}

// garbage answers what is to be removed, in an order that leaves no link to what
// is not there: what has not changed since cutoff, and no tag leads to.
func (l looker) garbage(ctx context.Context, cutoff time.Time) ([]string, error) {
	c, err := l.list(ctx, root)
	if err != nil {
		return nil, err
	}
	var links, blobs []string
	needed := map[string]bool{} // blobs, by digest
	for _, r := range c.repositories {
		more, err := l.unneeded(ctx, c, r, cutoff, needed)
		if err != nil {
			return nil, err
		}
		links = append(links, more...)
	}
	blobs = c.left(cutoff)
	for digest, o := range c.blobs {
		if !needed[digest] && !o.modified.After(cutoff) {
			blobs = append(blobs, o.key)
		}
	}
	return append(links, blobs...), nil
}

// still answers what is still garbage of what was, after a look at what has
// changed since: nothing else can have come to need it.
func (l looker) still(ctx context.Context, garbage, changed []string, cutoff time.Time) ([]string, error) {
	needed, links := map[string]bool{}, map[string]bool{}
	for _, name := range changed {
		c, err := l.list(ctx, folderOf(name))
		if err != nil {
			return nil, err
		}
		for _, r := range c.repositories {
			for digest := range r.revisions {
				c.blobs[digest] = object{key: keyOf(digest)}
			}
			more, err := l.unneeded(ctx, c, r, cutoff, needed)
			if err != nil {
				return nil, err
			}
			for _, key := range append(more, c.left(cutoff)...) {
				links[key] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(garbage), func(key string) bool {
		if digest, ok := digestOf(key); ok {
			return needed[digest]
		}
		return !links[key] && slices.ContainsFunc(changed, func(name string) bool { return strings.HasPrefix(key, folderOf(name)) })
	}), nil
}

// unneeded answers the links of a repository that are to be removed, and adds to
// needed what the others lead to.
func (l looker) unneeded(ctx context.Context, c contents, r *repository, cutoff time.Time, needed map[string]bool) (links []string, err error) {
	tagged := map[string]bool{}
	for _, tag := range r.tags {
		digest, err := l.get(ctx, tag)
		if err != nil {
			return nil, err
		}
		tagged[string(digest)] = true
	}
	used := map[string]bool{}
	for digest, link := range r.revisions {
		if !tagged[digest] && !link.modified.After(cutoff) {
			links = append(links, link.key)
			continue
		}
		needed[digest] = true
		parts, err := l.parts(ctx, c.blobs[digest])
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			used[p], needed[p] = true, true
		}
	}
	for digest, link := range r.layers {
		if used[digest] || link.modified.After(cutoff) {
			needed[digest] = true
		} else {
			links = append(links, link.key)
		}
	}
	return links, nil
}

// parts answers what a manifest leads to: the image's configuration and layers.
func (l looker) parts(ctx context.Context, manifest object) ([]string, error) {
	if manifest.key == "" {
		return nil, nil // it is gone: nobody can get this image
	}
	type descriptor struct{ Digest string }
	var m struct {
		Config    descriptor
		Layers    []descriptor
		Manifests []descriptor
	}
	text, err := l.get(ctx, manifest)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, nil // likewise
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", manifest.key, err)
	}
	out := []string{m.Config.Digest}
	for _, d := range append(m.Layers, m.Manifests...) {
		out = append(out, d.Digest)
	}
	return out, nil
}

// get answers a small object. One that has just been removed is empty.
func (l looker) get(ctx context.Context, o object) ([]byte, error) {
	if b, ok := l.read[o]; ok {
		return b, nil
	}
	b, err := l.bucket.ReadAll(ctx, o.key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", o.key, err)
	}
	l.read[o] = b
	return b, nil
}

// contents is all that the registry has.
type contents struct {
	repositories map[string]*repository
	uploads      map[string][]object // by folder
	blobs        map[string]object   // by digest
}

// repository is that of one service. Links lead to blobs.
type repository struct {
	tags              []object
	revisions, layers map[string]object // by digest
}

// list looks at everything in a folder. In the file system, what goes away
// meanwhile is an error.
func (l looker) list(ctx context.Context, folder string) (c contents, err error) {
	for range listAgain {
		if c, err = l.listOnce(ctx, folder); gcerrors.Code(err) != gcerrors.NotFound {
			break
		}
	}
	return c, err
}

func (l looker) listOnce(ctx context.Context, folder string) (contents, error) {
	c := contents{map[string]*repository{}, map[string][]object{}, map[string]object{}}
	for token := blob.FirstPageToken; ; {
		page, next, err := l.bucket.ListPage(ctx, token, listPage, &blob.ListOptions{Prefix: folder})
		if err != nil {
			return c, fmt.Errorf("list images: %w", err)
		}
		for _, o := range page {
			c.add(object{o.Key, o.ModTime})
		}
		if len(next) == 0 {
			return c, nil
		}
		token = next
	}
}

// left answers the objects of uploads that nobody went on with since cutoff.
func (c contents) left(cutoff time.Time) (keys []string) {
	for _, files := range c.uploads {
		if slices.ContainsFunc(files, func(o object) bool { return o.modified.After(cutoff) }) {
			continue
		}
		for _, o := range files {
			keys = append(keys, o.key)
		}
	}
	return keys
}

// folderOf is where a repository is in the bucket.
func folderOf(repository string) string { return root + "repositories/" + repository + "/" }

// keyOf is where a blob is in the bucket, and digestOf the way back.
func keyOf(digest string) string {
	algorithm, hex, _ := strings.Cut(digest, ":")
	return root + "blobs/" + algorithm + "/" + hex[:min(2, len(hex))] + "/" + hex + "/data"
}

func digestOf(key string) (digest string, ok bool) {
	rest, ok := strings.CutPrefix(key, root+"blobs/")
	p := strings.Split(rest, "/")
	if !ok || len(p) != 4 {
		return "", false
	}
	return p[0] + ":" + p[2], true
}

// add sorts an object in:
//
//	blobs/sha256/ab/abc…/data
//	repositories/NAME/_layers/sha256/abc…/link
//	repositories/NAME/_manifests/revisions/sha256/abc…/link
//	repositories/NAME/_manifests/tags/TAG/current/link
//	repositories/NAME/_uploads/ID/…
func (c contents) add(o object) {
	if strings.HasSuffix(o.key, ".tmp") { // what a bucket in the file system was writing
		c.uploads[o.key] = []object{o}
		return
	}
	name := strings.TrimPrefix(o.key, root)
	if strings.HasPrefix(name, "blobs/") {
		if digest, ok := digestOf(o.key); ok {
			c.blobs[digest] = o
		}
		return
	}
	name, rest, ok := strings.Cut(strings.TrimPrefix(name, "repositories/"), "/_")
	if !ok {
		return
	}
	r := c.repositories[name]
	if r == nil {
		r = &repository{revisions: map[string]object{}, layers: map[string]object{}}
		c.repositories[name] = r
	}
	p := strings.Split(rest, "/")
	switch {
	case p[0] == "layers" && len(p) == 4:
		r.layers[p[1]+":"+p[2]] = o
	case p[0] == "manifests" && len(p) == 5 && p[1] == "revisions":
		r.revisions[p[2]+":"+p[3]] = o
	case p[0] == "manifests" && len(p) == 5 && p[1] == "tags" && p[3] == "current":
		r.tags = append(r.tags, o)
	case p[0] == "uploads" && len(p) > 2:
		folder := name + "/" + p[1]
		c.uploads[folder] = append(c.uploads[folder], o)
	}
}
