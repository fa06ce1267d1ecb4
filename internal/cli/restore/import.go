package restore

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/archive"
	"github.com/micro/platform/internal/pause"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// Options say what to import, and how.
type Options struct {
	// Namespace is what requests name; "" is that of the token.
	Namespace string
	Only      Selection
	// Overwrite replaces what exists.
	Overwrite bool
	// Passphrase opens the secrets; "" leaves them out.
	Passphrase string
	// Progress hears how many records of a part are there, Say what a person should
	// know.
	Progress func(part archive.Part, records int64)
	Say      func(text string)
}

// Import is an archive on its way into a namespace.
type Import struct {
	a      *Archive
	conn   grpc.ClientConnInterface
	o      Options
	sealer *archive.Sealer
	// done is how many records of a part are there, by its name.
	done    map[string]int64
	resumed bool
	told    time.Time // when the server was told last

	deployed []Deployed
}

// New makes an import.
func New(a *Archive, conn grpc.ClientConnInterface, o Options) (*Import, error) {
	i := &Import{a: a, conn: conn, o: o, done: map[string]int64{}}
	if o.Passphrase == "" {
		return i, nil
	}
	if a.Sealed == nil {
		return nil, fmt.Errorf("the archive has no secrets: it was exported without a passphrase")
	}
	var err error
	i.sealer, err = a.Sealed.Sealer(o.Passphrase)
	return i, err
}

func (i *Import) archives() namespacespb.ArchivesClient {
	return namespacespb.NewArchivesClient(i.conn)
}

// Run imports the archive, and answers what it has deployed. What exists is
// refused, unless an import of the same archive was cut off.
func (i *Import) Run(ctx context.Context) ([]Deployed, error) {
	if err := i.opens(); err != nil {
		return nil, err
	}
	p, err := i.Plan(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.Refusal(); err != nil {
		return nil, err
	}
	if _, err := i.archives().BeginImport(ctx, &namespacespb.BeginImportRequest{Namespace: i.o.Namespace, Digest: i.a.Digest}); err != nil {
		return nil, err
	}
	if err := i.write(ctx); err != nil {
		return nil, err
	}
	_, err = i.archives().EndImport(ctx, &namespacespb.EndImportRequest{Namespace: i.o.Namespace, Digest: i.a.Digest})
	return i.deployed, err
}

// opens tries the passphrase before anything is written.
func (i *Import) opens() error {
	if i.sealer == nil {
		return nil
	}
	for _, v := range i.a.values {
		if v.Sealed != nil {
			_, err := i.sealer.Open(v.Place(), v.Sealed)
			return err
		}
	}
	for _, s := range i.a.services {
		for name, sealed := range s.Secrets {
			_, err := i.sealer.Open(s.Place(name), sealed)
			return err
		}
	}
	return nil
}

// writer takes in the records of a part.
type writer interface {
	// file takes a file. Records before skip are there.
	file(ctx context.Context, f archive.File, skip int64) error
	// end is called after the last file.
	end(ctx context.Context) error
}

// write goes through the archive and writes what is wanted.
func (i *Import) write(ctx context.Context) error {
	if _, err := i.a.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r, err := archive.NewReader(i.a.file)
	if err != nil {
		return err
	}
	var part archive.Part
	var w writer
	end := func() error {
		if w == nil {
			return nil
		}
		if err := w.end(ctx); err != nil {
			return err
		}
		return i.advance(ctx, part, part.Records, true)
	}
	for {
		f, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("the archive was changed while it was read: %w", err)
		}
		if f.Part != part.Name {
			if err := end(); err != nil {
				return err
			}
			part = i.a.parts[f.Part]
			w = i.writer(part)
		}
		if w == nil {
			continue
		}
		if err := w.file(ctx, f, i.done[part.Name]); err != nil {
			return fmt.Errorf("%s: %w", describe(part), err)
		}
	}
	return end()
}

// describe is a part as a person knows it.
func describe(p archive.Part) string {
	switch p.Kind {
	case archive.Store:
		return "table " + p.Of
	case archive.Events:
		return "topic " + p.Of
	default:
		return string(p.Kind)
	}
}

// news is the topic on which the platform tells what happened to the services of
// a namespace: that of another is for reading.
const news = "runtime"

// writer answers what takes in a part, or nil if it is not wanted, or there.
func (i *Import) writer(p archive.Part) writer {
	if !i.wants(p) || i.done[p.Name] >= p.Records {
		return nil
	}
	switch p.Kind {
	case archive.Store:
		return &tableWriter{i: i, part: p}
	case archive.Events:
		return &topicWriter{i: i, part: p}
	case archive.Groups:
		return &groupWriter{i: i, part: p}
	case archive.Blobs:
		return &blobWriter{i: i, part: p}
	case archive.Services:
		return &serviceWriter{i: i, part: p}
	case archive.Config:
		return atOnce(i.restoreConfig)
	case archive.Rules:
		return atOnce(i.restoreRules)
	default:
		return nil
	}
}

func (i *Import) wants(p archive.Part) bool {
	return i.o.Only[p.Kind] && !(p.Kind == archive.Events && p.Of == news)
}

// atOnce writes a part that is in memory already.
type atOnce func(context.Context) error

func (atOnce) file(context.Context, archive.File, int64) error { return nil }

func (f atOnce) end(ctx context.Context) error { return f(ctx) }

// tellEvery is how often the server is told how far the import is: what is
// written again after a cut.
const tellEvery = time.Second

// advance says that the first records of a part are there.
func (i *Import) advance(ctx context.Context, p archive.Part, records int64, now bool) error {
	i.o.Progress(p, records)
	if !now && time.Since(i.told) < tellEvery {
		return nil
	}
	i.told = time.Now()
	return i.retry(ctx, func() error {
		_, err := namespacespb.NewImportsClient(i.conn).Advance(ctx, &namespacespb.AdvanceRequest{
			Namespace: i.o.Namespace, Digest: i.a.Digest, Part: p.Name, Records: records,
		})
		return err
	})
}

// patience is how long a call is tried again that is refused for a rate, or that
// does not reach its component.
const patience = 20 * time.Second

// retry makes a call that does no harm when it is made twice.
func (i *Import) retry(ctx context.Context, call func() error) error {
	deadline := time.Now().Add(patience)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := call()
		switch errors.Code(err) {
		case codes.ResourceExhausted, codes.Unavailable, codes.Aborted:
		default:
			return err
		}
		if time.Now().After(deadline) {
			return err
		}
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
	}
}
