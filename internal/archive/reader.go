package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strings"
)

// ErrCut is an archive whose end is missing.
var ErrCut = errors.New("the archive is cut off: its end is missing")

// damaged is what is wrong with an archive, for the person who has it.
func damaged(format string, args ...any) error {
	return fmt.Errorf("the archive is damaged: "+format, args...)
}

// File is a file of a part.
type File struct {
	// Part is the name of the part.
	Part string
	// Ext is ".jsonl" of lines, ".json" of the header of an object, ".data" of its
	// bytes.
	Ext string
	// Content is good until the next file.
	Content []byte
}

// Reader reads an archive once, file by file, and checks it on the way: what is
// wrong with a part is known at its end, with the archive at Manifest.
type Reader struct {
	tar      *tar.Reader
	zip      *gzip.Reader
	about    About
	manifest *Manifest
	digest   string
	total    int64

	part Part // that is being read, as it is
	sum  hash.Hash
	seen []Part
	buf  bytes.Buffer
}

// NewReader reads the beginning of an archive.
func NewReader(in io.Reader) (*Reader, error) {
	zip, err := gzip.NewReader(bufio.NewReaderSize(in, 256<<10))
	if err != nil {
		return nil, errors.New("this is no archive of a namespace")
	}
	zip.Multistream(false)
	r := &Reader{tar: tar.NewReader(zip), zip: zip}
	name, err := r.next(maxAbout)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if err == io.EOF || name != aboutFile || json.Unmarshal(r.buf.Bytes(), &r.about) != nil {
		return nil, errors.New("this is no archive of a namespace")
	}
	if r.about.Format != Format {
		return nil, fmt.Errorf("the archive has format %d, and this program reads %d: use another version of it", r.about.Format, Format)
	}
	return r, nil
}

// About is what the archive says of itself.
func (r *Reader) About() About { return r.about }

// next reads a file into the buffer.
func (r *Reader) next(limit int64) (string, error) {
	h, err := r.tar.Next()
	if err == io.EOF {
		return "", io.EOF
	}
	if err != nil {
		return "", broken(err)
	}
	// Nothing sparse, no links, no attributes that change the size.
	if h.Typeflag != tar.TypeReg || h.Format != tar.FormatUSTAR {
		return "", damaged("%.100q is none of its files", h.Name)
	}
	if h.Size > limit {
		return "", damaged("%.100q has more than %d bytes", h.Name, limit)
	}
	if r.total += h.Size; r.total > maxTotal {
		return "", damaged("it has more than %d bytes", int64(maxTotal))
	}
	r.buf.Reset()
	if _, err := io.Copy(&r.buf, r.tar); err != nil {
		return "", broken(err)
	}
	return h.Name, nil
}

// broken tells what was cut off from what is wrong in the middle.
func broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return damaged("%v", err)
}

// Next answers the next file, and io.EOF after the last: then the archive is
// whole, and there is a manifest.
func (r *Reader) Next() (File, error) {
	if r.manifest != nil {
		return File{}, io.EOF
	}
	name, err := r.next(maxFile)
	if err == io.EOF {
		return File{}, ErrCut
	}
	if err != nil {
		return File{}, err
	}
	if name == manifestFile {
		if err := r.end(); err != nil {
			return File{}, err
		}
		return File{}, io.EOF
	}
	folder, ext := path.Dir(name), path.Ext(name)
	if folder != r.part.Name {
		if err := r.begin(folder); err != nil {
			return File{}, err
		}
	}
	r.part.Files++
	if name != fmt.Sprintf("%s/%06d%s", folder, r.part.Files, ext) {
		return File{}, damaged("%.100q is out of place", name)
	}
	r.sum.Write(r.buf.Bytes())
	r.part.Bytes += int64(r.buf.Len())
	switch ext {
	case ".jsonl":
		r.part.Records += int64(bytes.Count(r.buf.Bytes(), []byte("\n")))
	case ".json":
		r.part.Records++
	case ".data":
	default:
		return File{}, damaged("%.100q is none of its files", name)
	}
	return File{Part: folder, Ext: ext, Content: r.buf.Bytes()}, nil
}

// begin begins a part.
func (r *Reader) begin(name string) error {
	r.finish()
	if len(r.seen) == maxParts {
		return damaged("it has more than %d parts", maxParts)
	}
	r.part, r.sum = Part{Name: name}, sha256.New()
	return nil
}

func (r *Reader) finish() {
	if r.sum != nil {
		r.part.SHA256 = hex.EncodeToString(r.sum.Sum(nil))
		r.seen = append(r.seen, r.part)
	}
	r.sum = nil
}

// end compares what was read with the manifest, which must be the end.
func (r *Reader) end() error {
	r.finish()
	sum := sha256.Sum256(r.buf.Bytes())
	var m Manifest
	if err := json.Unmarshal(r.buf.Bytes(), &m); err != nil {
		return damaged("manifest: %v", err)
	}
	if _, err := r.tar.Next(); err != io.EOF {
		return behind(err)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r.zip, 1)); err != nil || n > 0 {
		return behind(err)
	}
	if err := r.compare(m); err != nil {
		return err
	}
	r.manifest, r.digest = &m, hex.EncodeToString(sum[:])
	return nil
}

// behind is why the manifest is not the end.
func behind(err error) error {
	if err != nil {
		return broken(err)
	}
	return damaged("something is behind its end")
}

func (r *Reader) compare(m Manifest) error {
	if m.About.Format != r.about.Format || m.About.Namespace != r.about.Namespace || !m.About.Created.Equal(r.about.Created) {
		return damaged("its beginning and its end are of two archives")
	}
	want := slices.DeleteFunc(slices.Clone(m.Parts), func(p Part) bool { return p.Files == 0 }) // an empty part has no file
	if len(want) != len(r.seen) {
		return damaged("it has %d parts, and should have %d", len(r.seen), len(want))
	}
	names := make(map[string]bool, len(m.Parts))
	for _, p := range m.Parts {
		if names[p.Name] || p.Files == 0 && p.Records != 0 {
			return damaged("part %.100q is there twice, or is none", p.Name)
		}
		names[p.Name] = true
	}
	for i, have := range r.seen {
		w := want[i]
		if w.Name != have.Name || w.Records != have.Records || w.Files != have.Files || w.Bytes != have.Bytes || !strings.EqualFold(w.SHA256, have.SHA256) {
			return damaged("part %.100q is not what was exported", have.Name)
		}
	}
	return nil
}

// Manifest is what the archive has, and the SHA-256 of that, after the last
// file. It is false before.
func (r *Reader) Manifest() (m Manifest, digest string, whole bool) {
	if r.manifest == nil {
		return Manifest{}, "", false
	}
	return *r.manifest, r.digest, true
}

// Check reads an archive to its end, and answers what it has if it is whole.
func Check(in io.Reader) (Manifest, string, error) {
	r, err := NewReader(in)
	if err != nil {
		return Manifest{}, "", err
	}
	for {
		if _, err := r.Next(); err == io.EOF {
			m, digest, _ := r.Manifest()
			return m, digest, nil
		} else if err != nil {
			return Manifest{}, "", err
		}
	}
}

// Lines reads the records of a file of lines.
func Lines[T any](f File, each func(T) error) error {
	d := json.NewDecoder(bytes.NewReader(f.Content))
	for {
		var v T
		err := d.Decode(&v)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return damaged("part %.100q: %v", f.Part, err)
		}
		if err := each(v); err != nil {
			return err
		}
	}
}

// Kind is the kind of the file's part: the beginning of its name.
func (f File) Kind() Kind {
	kind, _, _ := strings.Cut(f.Part, "/")
	return Kind(kind)
}
