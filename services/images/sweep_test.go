package images

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestPushAfterTheLook pushes an image whose parts are there and nobody needs,
// between the look for garbage and its removal: the second look sees that they
// are needed, and the rest goes.
func TestPushAfterTheLook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	way, img := b.as("builder"), image(t)
	ref := b.push(t, "acme/hello", "1", img)
	other := b.push(t, "acme/other", "1", image(t))
	if err := errors.Join(remote.Delete(ref, way), remote.Delete(other, way)); err != nil {
		t.Fatal(err)
	}
	later(b)
	began, err := b.db.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	look, cutoff := looker{b.store.Bucket, map[object][]byte{}}, b.now().Add(-b.opts.Age)
	garbage, err := look.garbage(t.Context(), cutoff)
	if err != nil || len(garbage) == 0 {
		t.Fatal(garbage, err)
	}
	b.push(t, "acme/hello", "2", img)
	for len(garbage) > 0 {
		if _, garbage, err = b.removeSome(t.Context(), look, garbage, began, cutoff); err != nil {
			t.Fatal(err)
		}
	}
	if err := pull(ref, way); err != nil {
		t.Errorf("an image that was pushed after the look: %v", err)
	}
	if n := b.blobs(t); n != 4 { // manifest, configuration, two layers
		t.Errorf("%d blobs are left, want 4", n)
	}
}

// TestPushAroundTheRemoval sweeps what a push has found to be there: it is
// refused, and the next one succeeds.
func TestPushAroundTheRemoval(t *testing.T) {
	t.Parallel()
	b := setup(t)
	way, img := b.as("builder"), image(t)
	ref := b.push(t, "acme/hello", "1", img)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	later(b)
	if err := remote.Delete(ref, way); err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if err := remote.WriteLayer(ref.Context(), l, way); err != nil { // it is there
			t.Fatal(err)
		}
	}
	if n, err := b.sweep(t.Context()); err != nil || n == 0 {
		t.Fatalf("%d objects removed, %v", n, err)
	}
	if err := remote.Put(ref.Context().Tag("1"), img, way); err == nil {
		t.Error("a manifest was taken whose layers are gone")
	}
	b.push(t, "acme/hello", "1", img)
	if err := pull(ref, way); err != nil {
		t.Errorf("the next push: %v", err)
	}
}

// TestLostLock: nothing is removed any more once the lock is another's to have.
func TestLostLock(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const end = `
		SELECT pg_terminate_backend(pid) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	var before, after error
	if err := b.db.with(t.Context(), lockAlone, func(held func() error) {
		before = held()
		if _, err := b.db.pool.Exec(t.Context(), end); err != nil {
			t.Error(err)
		}
		after = held()
	}); err != nil {
		t.Fatal(err)
	}
	if before != nil || after == nil {
		t.Error(fmt.Errorf("held: %w, then %w", before, after))
	}
}
