package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// written writes an archive with a part of lines and one of objects.
func written(t testing.TB, records, blob int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, About{Namespace: "acme", Created: time.Now(), Server: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = w.Part(Members, "") // an empty one
	must(err)
	p, err := w.Part(Store, "orders/ü")
	must(err)
	for i := range records {
		must(p.Add(Record{Key: fmt.Sprintf("key %d", i), Value: ToText([]byte{byte(i), 0xff, 0}), Version: int64(i + 1)}))
	}
	p, err = w.Part(Blobs, "")
	must(err)
	must(p.Object(Blob{Key: "empty"}))
	must(p.Object(Blob{Key: "large", ContentType: "image/png"}))
	data := make([]byte, blob)
	rand.Read(data)
	_, err = p.Write(data)
	must(err)
	must(w.Close())
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	b := written(t, 1000, 2*fileSize+17)
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	records, size := 0, 0
	var blobs []string
	for {
		f, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case f.Kind() == Store:
			err = Lines(f, func(got Record) error {
				want := Record{Key: fmt.Sprintf("key %d", records), Value: ToText([]byte{byte(records), 0xff, 0}), Version: int64(records + 1)}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("record %d: %s", records, d)
				}
				records++
				return nil
			})
		case f.Ext == ".json":
			err = Lines(f, func(b Blob) error {
				blobs = append(blobs, b.Key)
				return nil
			})
		default:
			size += len(f.Content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if records != 1000 || size != 2*fileSize+17 || fmt.Sprint(blobs) != "[empty large]" {
		t.Errorf("read %d records, %d bytes of blobs %v", records, size, blobs)
	}
	m, digest, whole := r.Manifest()
	if !whole || len(digest) != 64 || len(m.Parts) != 3 || m.Parts[1].Of != "orders/ü" || m.Parts[1].Records != 1000 || m.Parts[2].Records != 2 {
		t.Errorf("manifest %+v, %s, %v", m, digest, whole)
	}
}

// TestCut shows that an archive of which anything is missing is refused as one
// that was cut off.
func TestCut(t *testing.T) {
	t.Parallel()
	b := written(t, 200, 1000)
	for n := 0; n < len(b); n += 7 {
		if _, _, err := Check(bytes.NewReader(b[:n])); err == nil {
			t.Fatalf("an archive cut at %d of %d is taken", n, len(b))
		} else if n > len(b)/2 && !errors.Is(err, ErrCut) {
			t.Errorf("cut at %d of %d: %v, want %v", n, len(b), err, ErrCut)
		}
	}
	if _, _, err := Check(bytes.NewReader(b)); err != nil {
		t.Errorf("the whole archive: %v", err)
	}
	if _, _, err := Check(bytes.NewReader(append(b, 'x'))); err != nil {
		t.Logf("with a byte behind it: %v", err) // gzip's end is the end
	}
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	b := written(t, 200, 1000)
	_, want, err := Check(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		damaged := bytes.Clone(b)
		damaged[n] ^= 0x10
		// Some bits of gzip say nothing: its time, and codes that are not used.
		if _, got, err := Check(bytes.NewReader(damaged)); err == nil && got != want {
			t.Errorf("an archive whose byte %d of %d is another is taken", n, len(b))
		}
	}
}

// entry is a file of an archive that somebody has made by hand.
type entry struct {
	tar.Header
	content string
}

func packed(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, e := range entries {
		if e.Size == 0 {
			e.Size = int64(len(e.content))
		}
		if e.Typeflag == tar.TypeSymlink {
			e.Size = 0
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	w.Close() //nolint:errcheck // of a file that is shorter than it says
	z.Close()
	return out.Bytes()
}

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Format: tar.FormatUSTAR}, content}
}

func TestHostile(t *testing.T) {
	t.Parallel()
	about := file("about.json", `{"format":1,"namespace":"acme","created":"2026-01-01T00:00:00Z"}`)
	manifest := func(parts string) entry {
		return file("manifest.json", `{"format":1,"namespace":"acme","created":"2026-01-01T00:00:00Z","parts":[`+parts+`]}`)
	}
	const rules = `{"name":"rules","kind":"rules","records":1,"files":1,"bytes":3,"sha256":"ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"}`
	link := entry{tar.Header{Typeflag: tar.TypeSymlink, Name: "rules/000001.jsonl", Linkname: "/etc/passwd", Format: tar.FormatUSTAR}, ""}
	attributes := file("rules/000001.jsonl", "{}\n")
	attributes.Format, attributes.PAXRecords = tar.FormatPAX, map[string]string{"MICRO.x": "1"}
	huge := file("rules/000001.jsonl", "")
	huge.Size = maxFile + 1
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"nothing", nil, "no archive"},
		{"text", []byte("hello"), "no archive"},
		{"another tar", packed(t, file("readme", "hello")), "no archive"},
		{"an empty tar", packed(t), "no archive"},
		{"a later format", packed(t, file("about.json", `{"format":2}`)), "format 2"},
		{"no end", packed(t, about, file("rules/000001.jsonl", "{}\n")), "cut off"},
		{"a link", packed(t, about, link, manifest(rules)), "none of its files"},
		{"attributes", packed(t, about, attributes, manifest(rules)), "none of its files"},
		{"a large file", packed(t, about, huge), "has more than"},
		{"a path upwards", packed(t, about, file("../../etc/000001.jsonl", "{}\n"), manifest("")), "it has 1 parts, and should have 0"},
		{"an absolute path", packed(t, about, file("/etc/passwd", "x"), manifest("")), "out of place"},
		{"files out of order", packed(t, about, file("rules/000002.jsonl", "{}\n"), manifest(rules)), "out of place"},
		{"another kind of file", packed(t, about, file("rules/000001.sh", "{}\n"), manifest(rules)), "none of its files"},
		{"other contents", packed(t, about, file("rules/000001.jsonl", "[]\n"), manifest(rules)), "not what was exported"},
		{"a part that is not there", packed(t, about, manifest(rules)), "it has 0 parts, and should have 1"},
		{"a part twice", packed(t, about, manifest(`{"name":"a"},{"name":"a"}`)), "twice"},
		{"a manifest of another", packed(t, about, file("manifest.json", `{"format":1,"namespace":"other"}`)), "of two archives"},
		{"something behind the end", packed(t, about, manifest(""), file("x", "y")), "behind its end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := Check(bytes.NewReader(tt.in))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check = %v, want an error with %q", err, tt.want)
			}
		})
	}
	if _, _, err := Check(bytes.NewReader(packed(t, about, file("rules/000001.jsonl", "{}\n"), manifest(rules)))); err != nil {
		t.Errorf("what is right: %v", err)
	}
}

// TestBomb shows that a file that expands a thousandfold takes no more memory
// than one file may.
func TestBomb(t *testing.T) {
	t.Parallel()
	about := file("about.json", `{"format":1}`)
	large := file("store/1/000001.data", strings.Repeat("\x00", maxFile))
	b := packed(t, about, large)
	if len(b) > maxFile/500 {
		t.Fatalf("%d bytes are no bomb", len(b))
	}
	if _, _, err := Check(bytes.NewReader(b)); !errors.Is(err, ErrCut) {
		t.Errorf("Check = %v, want %v", err, ErrCut)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for _, b := range [][]byte{nil, {}, []byte("plain"), []byte("Grüße\n\t<&>\u2028"), {0}, {0xff, 0xfe}, []byte("\r"), []byte("\ufffd"), []byte(`"\`)} {
		line, err := json.Marshal(ToText(b))
		if err != nil {
			t.Fatal(err)
		}
		var got Text
		if err := json.Unmarshal(line, &got); err != nil || !bytes.Equal(got.Bytes(), b) {
			t.Errorf("%q became %q by %s (%v)", b, got.Bytes(), line, err)
		}
	}
}

func TestSealer(t *testing.T) {
	t.Parallel()
	how := NewSealed()
	s, err := how.Sealer("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal("config\na.b", "hush")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Open("config\na.b", sealed); err != nil || got != "hush" {
		t.Errorf("Open = %q, %v", got, err)
	}
	if _, err := s.Open("config\na.c", sealed); !errors.Is(err, ErrPassphrase) {
		t.Errorf("in another place: %v, want %v", err, ErrPassphrase)
	}
	other, err := how.Sealer("wrong horse battery")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open("config\na.b", sealed); !errors.Is(err, ErrPassphrase) {
		t.Errorf("with another passphrase: %v, want %v", err, ErrPassphrase)
	}
	dear := *how
	dear.N = 1 << 30
	if _, err := dear.Sealer("correct horse battery"); err == nil {
		t.Error("the costs of scrypt are the stranger's choice")
	}
}

func FuzzReader(f *testing.F) {
	f.Add(written(f, 3, 100))
	f.Add(packed(f, file("about.json", `{"format":1}`), file("rules/000001.jsonl", "{}\n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewReader(bytes.NewReader(b))
		if err != nil {
			return
		}
		for {
			file, err := r.Next()
			if err != nil {
				break
			}
			Lines(file, func(Record) error { return nil }) //nolint:errcheck // it must not panic
		}
	})
}
