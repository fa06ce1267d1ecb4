package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"
)

// fileSize is how large a file of a part becomes, and what a Writer holds.
const fileSize = 4 << 20

// Writer writes an archive, part by part.
type Writer struct {
	about Manifest
	zip   *gzip.Writer
	tar   *tar.Writer
	part  *PartWriter
}

// NewWriter begins an archive.
func NewWriter(out io.Writer, about About) (*Writer, error) {
	zip, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	about.Format, about.Created = Format, about.Created.UTC().Truncate(time.Second)
	w := &Writer{about: Manifest{About: about}, zip: zip, tar: tar.NewWriter(zip)}
	return w, w.json(aboutFile, about)
}

// json writes a file of one JSON document.
func (w *Writer) json(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return w.file(name, append(b, '\n'))
}

func (w *Writer) file(name string, b []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(b)), ModTime: w.about.Created, Format: tar.FormatUSTAR}
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := w.tar.Write(b); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Part begins a part, of a table or a topic if the kind has several. The one
// before is ended.
func (w *Writer) Part(kind Kind, of string) (*PartWriter, error) {
	if err := w.end(); err != nil {
		return nil, err
	}
	name := string(kind)
	if of != "" {
		name = fmt.Sprintf("%s/%04d-%s", kind, len(w.about.Parts)+1, slug(of))
	}
	w.part = &PartWriter{w: w, part: Part{Name: name, Kind: kind, Of: of}, sum: sha256.New()}
	return w.part, nil
}

// end ends the part that is being written.
func (w *Writer) end() error {
	p := w.part
	if p == nil {
		return nil
	}
	if err := p.flush(p.ext()); err != nil {
		return err
	}
	p.part.SHA256 = hex.EncodeToString(p.sum.Sum(nil))
	w.about.Parts, w.part = append(w.about.Parts, p.part), nil
	return nil
}

// Close ends the archive: with the manifest it is whole.
func (w *Writer) Close() error {
	if err := w.end(); err != nil {
		return err
	}
	if err := w.json(manifestFile, w.about); err != nil {
		return err
	}
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("end the archive: %w", err)
	}
	if err := w.zip.Close(); err != nil {
		return fmt.Errorf("end the archive: %w", err)
	}
	return nil
}

// slug is what a folder shows of a name, for people; the manifest has the name.
func slug(name string) string {
	const most = 40
	s := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, name)
	return s[:min(len(s), most)]
}

// PartWriter writes the records of a part: lines, or objects.
type PartWriter struct {
	w      *Writer
	part   Part
	sum    hash.Hash
	buf    bytes.Buffer
	object bool // the file is of the bytes of an object
}

// Name is the part's.
func (p *PartWriter) Name() string { return p.part.Name }

// Records is how many were added.
func (p *PartWriter) Records() int64 { return p.part.Records }

func (p *PartWriter) ext() string {
	if p.object {
		return ".data"
	}
	return ".jsonl"
}

// Add adds a line.
func (p *PartWriter) Add(record any) error {
	if err := p.encode(record); err != nil {
		return err
	}
	p.part.Records++
	if p.buf.Len() < fileSize {
		return nil
	}
	return p.flush(p.ext())
}

func (p *PartWriter) encode(v any) error {
	e := json.NewEncoder(&p.buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode %s: %w", p.part.Name, err)
	}
	return nil
}

// Object begins an object, whose bytes follow by Write.
func (p *PartWriter) Object(header any) error {
	if err := p.flush(p.ext()); err != nil {
		return err
	}
	if err := p.encode(header); err != nil {
		return err
	}
	p.part.Records++
	p.object = true
	return p.flush(".json")
}

// Write implements io.Writer, for the bytes of an object.
func (p *PartWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		room := min(fileSize-p.buf.Len(), len(b))
		p.buf.Write(b[:room])
		b = b[room:]
		if p.buf.Len() == fileSize {
			if err := p.flush(p.ext()); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush writes what is held as a file.
func (p *PartWriter) flush(ext string) error {
	b := p.buf.Bytes()
	if len(b) == 0 {
		return nil
	}
	p.sum.Write(b)
	p.part.Files++
	p.part.Bytes += int64(len(b))
	err := p.w.file(fmt.Sprintf("%s/%06d%s", p.part.Name, p.part.Files, ext), b)
	p.buf.Reset()
	return err
}
