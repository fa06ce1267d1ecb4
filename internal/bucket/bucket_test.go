package bucket

import (
	"os"
	"path/filepath"
	"testing"

	"gocloud.dev/blob/fileblob"
)

func TestErase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for _, key := range []string{"sources/acme/a/1", "sources/acme/a/2", "sources/acme/b/1", "sources/acme-2/a/1"} {
		if err := b.WriteAll(t.Context(), key, []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	f := Folder{b, dir, "sources/acme/"}
	if done, err := f.Erase(t.Context(), 2); err != nil || done {
		t.Fatalf("the first part: %v, %v; want more to come", done, err)
	}
	for range 2 { // and once more, when there is nothing
		if done, err := f.Erase(t.Context(), 2); err != nil || !done {
			t.Fatalf("the rest: %v, %v", done, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "sources", "acme")); !os.IsNotExist(err) {
		t.Errorf("the folder is left: %v", err)
	}
	if ok, err := b.Exists(t.Context(), "sources/acme-2/a/1"); err != nil || !ok {
		t.Errorf("the other namespace's object: %v, %v", ok, err)
	}
}
