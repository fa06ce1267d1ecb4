package namespaces

import (
	"context"
	"regexp"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
	"github.com/micro/platform/services/namespaces/export"
)

// archives is the APIs namespaces.Archives and namespaces.Imports.
type archives struct {
	namespacespb.UnsafeArchivesServer
	namespacespb.UnsafeImportsServer
	*Service

	peers export.Peers
	// exports has a place for each export that is under way.
	exports chan struct{}
}

// maxExports is how many exports one process makes at once. Each takes some
// 50 MB at most.
const maxExports = 8

func newArchives(s *Service, peers export.Peers) archives {
	return archives{Service: s, peers: peers, exports: make(chan struct{}, maxExports)}
}

// mover answers the namespace of a request about its archive. What is in it is
// everything, so a service may not, nor a program with an API token.
func mover(ctx context.Context, requested string) (string, error) {
	c, err := identity.RequireLogin(ctx)
	if err != nil {
		return "", err
	}
	name, err := identity.Admin(ctx, requested)
	if err != nil {
		return "", err
	}
	if c.Type != identity.User {
		return "", errors.New(codes.PermissionDenied, "account %q is none of a person: only owners and admins export and import a namespace", c.ID).For(identity.RoleMissing)
	}
	if name != identity.Platform && !nameRule.MatchString(name) {
		return "", noNamespace(name)
	}
	return name, nil
}

// Bounds of a passphrase, in bytes.
const (
	minPassphrase = 12
	maxPassphrase = 256
)

// Export implements Archives.
func (s archives) Export(req *namespacespb.ExportRequest, out grpc.ServerStreamingServer[namespacespb.ExportResponse]) error {
	ctx := out.Context()
	name, err := mover(ctx, req.GetNamespace())
	if err != nil {
		return err
	}
	if n := len(req.GetPassphrase()); n > 0 && (n < minPassphrase || n > maxPassphrase) {
		return errors.New(codes.InvalidArgument, "passphrase: %d to %d bytes, got %d", minPassphrase, maxPassphrase, n)
	}
	if name != identity.Platform {
		if _, err := s.db.get(ctx, name); errors.Is(err, errNone) {
			return noNamespace(name)
		} else if err != nil {
			return err
		}
	}
	select {
	case s.exports <- struct{}{}:
		defer func() { <-s.exports }()
	default:
		return errors.New(codes.Unavailable, "%d exports are under way, which is as many as are possible: try again in a few minutes", maxExports)
	}
	w := &exportWriter{stream: out}
	err = s.peers.Export(ctx, export.Request{
		Namespace: name, Passphrase: req.GetPassphrase(), Server: serverVersion(), Now: s.now(), Progress: w.progress,
	}, w)
	if err != nil {
		return err
	}
	return w.flush()
}

// serverVersion is what this program was built from.
func serverVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// exportChunk is how much of an archive one message carries.
const exportChunk = 64 << 10

// exportWriter sends what is written, in messages.
type exportWriter struct {
	stream  grpc.ServerStreamingServer[namespacespb.ExportResponse]
	buf     []byte
	part    string
	records int64
}

// progress is told with the next bytes.
func (w *exportWriter) progress(part string, records int64) { w.part, w.records = part, records }

// Write implements io.Writer.
func (w *exportWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		room := min(exportChunk-len(w.buf), len(b))
		w.buf, b = append(w.buf, b[:room]...), b[room:]
		if len(w.buf) == exportChunk {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *exportWriter) flush() error {
	err := w.stream.Send(&namespacespb.ExportResponse{Data: w.buf, Part: w.part, Records: w.records})
	w.buf = make([]byte, 0, exportChunk) // the message may still be on its way
	return err
}

// importLife is how long an import that was cut off can be gone on with.
const importLife = 30 * 24 * time.Hour

var digestRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

func checkDigest(digest string) error {
	if !digestRule.MatchString(digest) {
		return errors.New(codes.InvalidArgument, "digest %q: a SHA-256 in hexadecimal", errors.Clip(digest))
	}
	return nil
}

// BeginImport implements Archives.
func (s archives) BeginImport(ctx context.Context, req *namespacespb.BeginImportRequest) (*namespacespb.BeginImportResponse, error) {
	name, err := mover(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkDigest(req.GetDigest()); err != nil {
		return nil, err
	}
	parts, resumed, err := s.db.beginImport(ctx, name, req.GetDigest(), req.GetLook())
	if err != nil {
		return nil, err
	}
	rsp := &namespacespb.BeginImportResponse{Resumed: resumed}
	for _, p := range parts {
		rsp.Parts = append(rsp.Parts, &namespacespb.ImportedPart{Name: p.Part, Records: p.Records})
	}
	return rsp, nil
}

// EndImport implements Archives.
func (s archives) EndImport(ctx context.Context, req *namespacespb.EndImportRequest) (*namespacespb.EndImportResponse, error) {
	name, err := mover(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkDigest(req.GetDigest()); err != nil {
		return nil, err
	}
	return &namespacespb.EndImportResponse{}, s.db.endImport(ctx, name, req.GetDigest())
}

// maxPart bounds the name of a part, in bytes.
const maxPart = 200

// Advance implements Imports.
func (s archives) Advance(ctx context.Context, req *namespacespb.AdvanceRequest) (*namespacespb.AdvanceResponse, error) {
	name, err := mover(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkDigest(req.GetDigest()); err != nil {
		return nil, err
	}
	if n := len(req.GetPart()); n == 0 || n > maxPart {
		return nil, errors.New(codes.InvalidArgument, "part: 1 to %d bytes, got %d", maxPart, n)
	}
	if req.GetRecords() < 0 {
		return nil, errors.New(codes.InvalidArgument, "records is %d: it counts from 0", req.GetRecords())
	}
	begun, err := s.db.advanceImport(ctx, name, req.GetDigest(), importedPart{Part: req.GetPart(), Records: req.GetRecords()})
	if err != nil {
		return nil, err
	}
	if !begun {
		return nil, errors.New(codes.NotFound, "no import of this archive has begun in namespace %q", name)
	}
	return &namespacespb.AdvanceResponse{}, nil
}
