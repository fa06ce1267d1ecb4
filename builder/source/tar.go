package source

import (
	"archive/tar"
	"bufio"
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// Limits of an archive. They bound what one build can put on the disk.
type Limits struct {
	Bytes   int64 // of all files together, as they are on disk
	Entries int
	Depth   int // folders in folders
}

// DefaultLimits is what a source may be.
var DefaultLimits = Limits{Bytes: 500 << 20, Entries: 20_000, Depth: 32}

const (
	maxName = 4096
	maxPart = 255
)

// Extract writes an uncompressed tar below root, which must be empty. It stops
// at the first entry that is not allowed.
func Extract(ctx context.Context, r io.Reader, root *os.Root, limits Limits) error {
	x := &extractor{root: root, limits: limits, seen: map[string]bool{}}
	// An archive may be cut short by a limit or by ctx at any read.
	archive := tar.NewReader(bufio.NewReaderSize(contextReader{ctx, r}, 64<<10))
	for n := 1; ; n++ {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return damaged(ctx, err, n)
		}
		if n > limits.Entries {
			return refuse("the source has more than %d files and folders", limits.Entries)
		}
		if err := x.entry(h, archive); err != nil {
			if isRefusal(err) {
				return err
			}
			return damaged(ctx, err, n)
		}
	}
	if x.files == 0 {
		return refuse("the source has no files")
	}
	return nil
}

type extractor struct {
	root   *os.Root
	limits Limits
	bytes  int64
	files  int
	// seen holds every path in lower case, true for a file.
	seen map[string]bool
}

func (x *extractor) entry(h *tar.Header, content io.Reader) error {
	if err := checkType(h); err != nil {
		return err
	}
	name, err := cleanName(h.Name, x.limits.Depth)
	if err != nil {
		return err
	}
	if name == "." {
		if h.Typeflag == tar.TypeDir {
			return nil
		}
		return refuse("entry %q: a file needs a name", errors.Clip(h.Name))
	}
	isFile := h.Typeflag == tar.TypeReg
	if err := x.claim(name, isFile); err != nil {
		return err
	}
	if !isFile {
		return x.root.MkdirAll(name, 0o755)
	}
	if err := x.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	x.files++
	return x.file(name, content)
}

// claim refuses a path that was there before, also in another case: on some
// systems those are the same file.
func (x *extractor) claim(name string, isFile bool) error {
	key := strings.ToLower(name)
	wasFile, seen := x.seen[key]
	if seen && (isFile || wasFile) {
		return refuse("entry %q: there twice (or the same but for upper and lower case)", errors.Clip(name))
	}
	for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
		if file, ok := x.seen[dir]; ok && file {
			return refuse("entry %q: a part of its path is a file", errors.Clip(name))
		} else if ok {
			break // its parents were checked when it came
		}
		x.seen[dir] = false
	}
	x.seen[key] = isFile
	return nil
}

func (x *extractor) file(name string, content io.Reader) error {
	f, err := x.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	left := x.limits.Bytes - x.bytes
	n, err := io.Copy(f, io.LimitReader(content, left+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if n > left {
		return tooLarge(x.limits.Bytes)
	}
	x.bytes += n
	return nil
}

func checkType(h *tar.Header) error {
	kind := ""
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
		if h.FileInfo().Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			kind = "set-id bits"
		}
	case tar.TypeSymlink:
		kind = "symbolic links"
	case tar.TypeLink:
		kind = "hard links"
	case tar.TypeChar, tar.TypeBlock:
		kind = "devices"
	case tar.TypeFifo:
		kind = "named pipes"
	default:
		kind = "special files"
	}
	if kind != "" {
		return refuse("entry %q: %s are not allowed", errors.Clip(h.Name), kind)
	}
	return nil
}

// cleanName checks the name of an entry and answers it without a slash at its
// end and without "./" in front; "." is the root itself.
func cleanName(name string, depth int) (string, error) {
	bad := func(rule string) (string, error) { return "", refuse("entry %q: %s", errors.Clip(name), rule) }
	switch {
	case len(name) > maxName:
		return bad("the name is too long")
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return bad("the name is not valid UTF-8")
	case strings.Contains(name, `\`), strings.Contains(name, ":") && len(name) > 1 && name[1] == ':':
		return bad("backslashes and drive letters are not allowed in names")
	case strings.HasPrefix(name, "/"):
		return bad("absolute names are not allowed")
	}
	clean := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if clean == "" || clean == "." {
		return ".", nil
	}
	parts := strings.Split(clean, "/")
	if len(parts) > depth {
		return bad("too many folders in folders")
	}
	for _, p := range parts {
		switch {
		case p == "..":
			return bad("the name leads out of the source")
		case p == "" || p == ".":
			return bad("empty parts are not allowed in names")
		case len(p) > maxPart:
			return bad("a part of the name is too long")
		}
	}
	return clean, nil
}

// contextReader fails when its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func damaged(ctx context.Context, err error, entry int) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.New(codes.InvalidArgument, "the uploaded archive is damaged at entry %d", entry).Because(err)
}

func tooLarge(limit int64) error {
	return errors.NewHTTP(413, "the source is larger than %d MiB", limit>>20)
}

func refuse(format string, args ...any) error {
	return errors.New(codes.InvalidArgument, format, args...)
}

func isRefusal(err error) bool {
	var e *errors.Error
	return errors.As(err, &e)
}
