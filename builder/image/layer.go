package image

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is a layer of an image in a file. It implements v1.Layer.
type layer struct {
	file           string
	digest, diffID v1.Hash
	size           int64
	media          types.MediaType
}

// newLayer writes a layer. Nothing in it depends on when that is.
func newLayer(name string, compressed bool, entries ...entry) (*layer, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	digest := sha256.New()
	buffered := bufio.NewWriterSize(f, 256<<10)
	out := io.MultiWriter(buffered, digest)
	l := &layer{file: name, media: types.DockerUncompressedLayer}
	if compressed {
		l.media = types.DockerLayer
		l.diffID, err = writeCompressed(out, entries)
	} else {
		err = writeTar(out, entries)
	}
	if err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return nil, fmt.Errorf("write layer: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	l.size, l.digest = info.Size(), sum(digest)
	if !compressed {
		l.diffID = l.digest
	}
	return l, f.Close()
}

// writeCompressed answers the hash of what it compressed: fast, since a program
// is made once and its size matters little between hosts.
func writeCompressed(out io.Writer, entries []entry) (v1.Hash, error) {
	content := sha256.New()
	z, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := writeTar(io.MultiWriter(z, content), entries); err != nil {
		return v1.Hash{}, err
	}
	return sum(content), z.Close()
}

func sum(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// Digest implements v1.Layer.
func (l *layer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID implements v1.Layer.
func (l *layer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Size implements v1.Layer.
func (l *layer) Size() (int64, error) { return l.size, nil }

// MediaType implements v1.Layer.
func (l *layer) MediaType() (types.MediaType, error) { return l.media, nil }

// Compressed implements v1.Layer: the layer as it is in the file, and moves.
func (l *layer) Compressed() (io.ReadCloser, error) { return os.Open(l.file) }

// Uncompressed implements v1.Layer.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	f, err := os.Open(l.file)
	if err != nil || l.media == types.DockerUncompressedLayer {
		return f, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return unzipped{z, f}, nil
}

// unzipped closes the file of what it reads.
type unzipped struct {
	*gzip.Reader
	file io.Closer
}

// Close implements io.Closer.
func (u unzipped) Close() error { return u.file.Close() }
