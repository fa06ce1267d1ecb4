package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// format is the layout of the archive. Raise it when an older program could not
// read what a newer one wrote.
const format = 1

// pieceSize is how much of a stream whose length is not known is kept in memory
// to write it as an entry of the tar.
const pieceSize = 4 << 20

// Names of entries.
const (
	headName, endName = "head.json", "end.json"
	secretName        = "cluster-secret"
	postgresName      = "postgres"
	redisName         = "redis"
	bucketName        = "bucket"
)

// Head says what an archive is.
type Head struct {
	Format  int       `json:"format"`
	Made    time.Time `json:"made"`
	Version string    `json:"version"` // of the program
	Cluster string    `json:"cluster"` // id of the platform
}

// End says what there is to be in an archive, and after a restore.
type End struct {
	Tables  map[string]int64 `json:"tables"` // rows, by schema and name
	Keys    []int64          `json:"keys"`   // of each Redis server
	Objects int64            `json:"objects"`
	Bytes   int64            `json:"bytes"` // of all, before compression
}

// AllKeys is the number of keys of all Redis servers.
func (e *End) AllKeys() (n int64) {
	for _, k := range e.Keys {
		n += k
	}
	return n
}

// Rows is the number of rows of all tables.
func (e *End) Rows() (n int64) {
	for _, k := range e.Tables {
		n += k
	}
	return n
}

// writer writes an archive.
type writer struct {
	tar   *tar.Writer
	zip   *zstd.Encoder
	crypt io.WriteCloser
	made  time.Time
	bytes int64
}

func newWriter(out io.Writer, made time.Time, to []age.Recipient) (*writer, error) {
	crypt, err := age.Encrypt(out, to...)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	zip, err := zstd.NewWriter(crypt)
	if err != nil {
		return nil, err
	}
	return &writer{tar: tar.NewWriter(zip), zip: zip, crypt: crypt, made: made}, nil
}

func (w *writer) entry(name string, size int64, r io.Reader) error {
	err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: w.made, Format: tar.FormatPAX})
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	n, err := io.Copy(w.tar, r)
	w.bytes += n
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (w *writer) json(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return w.entry(name, int64(len(b)), bytes.NewReader(b))
}

// pieces writes a stream of unknown length as entries beside each other.
func (w *writer) pieces(name string, r io.Reader) error {
	buf := make([]byte, pieceSize)
	for i := 0; ; i++ {
		n, err := io.ReadFull(r, buf)
		if n > 0 {
			if err := w.entry(fmt.Sprintf("%s/%06d", name, i), int64(n), bytes.NewReader(buf[:n])); err != nil {
				return err
			}
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
}

// output writes what a program prints. cancel ends the program, when the archive
// cannot be written.
func (w *writer) output(part string, cmd *exec.Cmd, cancel context.CancelFunc) error {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := w.pieces(part, out); err != nil {
		cancel()
		return errors.Join(err, cmd.Wait())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, said.Bytes())
	}
	return nil
}

// close ends the archive. One that was not closed cannot be read to its end.
func (w *writer) close() error {
	return errors.Join(w.tar.Close(), w.zip.Close(), w.crypt.Close())
}

// reader reads an archive, part by part.
type reader struct {
	tar *tar.Reader
	zip *zstd.Decoder

	header *tar.Header // of the entry that comes next; nil before it is read
}

func newReader(in io.Reader, keys []age.Identity) (*reader, error) {
	plain, err := age.Decrypt(in, keys...)
	if err != nil {
		return nil, fmt.Errorf("decrypt the archive: %w", err)
	}
	zip, err := zstd.NewReader(plain)
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	return &reader{tar: tar.NewReader(zip), zip: zip}, nil
}

func (r *reader) close() { r.zip.Close() }

// peek reads the header of the entry that comes next, once.
func (r *reader) peek() (*tar.Header, error) {
	if r.header != nil {
		return r.header, nil
	}
	h, err := r.tar.Next()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the archive was cut off: its end is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("the archive is damaged: %w", err)
	}
	r.header = h
	return h, nil
}

// next opens the entry that comes next when it belongs to the part: is the
// part itself, or below it. Otherwise it answers nil.
func (r *reader) next(part string) (*tar.Header, error) {
	h, err := r.peek()
	if err != nil || h.Name != part && !strings.HasPrefix(h.Name, part+"/") {
		return nil, err
	}
	r.header = nil
	return h, nil
}

// text reads a part that is one small entry.
func (r *reader) text(part string) ([]byte, error) {
	h, err := r.next(part)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, fmt.Errorf("the archive has %s where %s was expected", r.header.Name, part)
	}
	b, err := io.ReadAll(io.LimitReader(r.tar, pieceSize))
	if err != nil {
		return nil, fmt.Errorf("the archive is damaged at %s: %w", part, err)
	}
	return b, nil
}

func (r *reader) json(part string, v any) error {
	b, err := r.text(part)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("the archive is damaged at %s: %w", part, err)
	}
	return nil
}

// pieces answers a stream that was written in pieces.
func (r *reader) pieces(part string) io.Reader { return &pieces{r: r, part: part} }

type pieces struct {
	r    *reader
	part string
	n    int
	open bool
}

func (p *pieces) Read(b []byte) (int, error) {
	for {
		if p.open {
			n, err := p.r.tar.Read(b)
			if err != nil && err != io.EOF {
				return n, fmt.Errorf("the archive is damaged at %s: %w", p.part, err)
			}
			p.open = err == nil
			if n > 0 {
				return n, nil
			}
			continue
		}
		h, err := p.r.next(p.part)
		if err != nil {
			return 0, err
		}
		if h == nil {
			return 0, io.EOF
		}
		if want := fmt.Sprintf("%06d", p.n); path.Base(h.Name) != want {
			return 0, fmt.Errorf("the archive has %s where piece %s was expected", h.Name, want)
		}
		p.n++
		p.open = true
	}
}
