package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"gocloud.dev/blob"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// sources implements the Source RPCs.
type sources struct {
	runtimepb.UnsafeSourceServer

	svc *Service
}

// Upload stores a tar in the bucket as it comes. It looks at the size only:
// what is in it is for the builder to judge, inside its sandbox.
func (u sources) Upload(stream runtimepb.Source_UploadServer) error {
	more := receive(stream)
	id, err := u.upload(stream.Context(), more)
	if err != nil {
		hearOut(more)
		return err
	}
	return stream.SendAndClose(&runtimepb.UploadResponse{Id: id})
}

// upload answers the name by which Create finds what came.
func (u sources) upload(ctx context.Context, more <-chan chunk) (string, error) {
	if _, ok := identity.From(ctx); !ok {
		return "", errors.New(codes.Unauthenticated, "An account is required to upload source")
	}
	namespace, err := identity.Admin(ctx, "")
	if err != nil {
		return "", err
	}
	var first chunk
	select {
	case first = <-more:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if first.err == io.EOF || first.err == nil && first.GetService() == nil {
		return "", invalid("No service was sent")
	}
	if first.err != nil {
		return "", first.err
	}
	name, version, err := checkName(first.GetService().GetName(), first.GetService().GetVersion())
	if err != nil {
		return "", err
	}
	if err := checkFree(name); err != nil {
		return "", err
	}
	s := u.svc
	key := key{namespace, name, version}
	random := make([]byte, 12)
	rand.Read(random)
	blobKey := sourcesOf(namespace) + name + "/" + hex.EncodeToString(random) + ".tar"
	if err := s.db.beginUpload(ctx, key, blobKey, s.opts.Uploads); err != nil {
		return "", err
	}
	if err := s.store(ctx, blobKey, first.GetData(), more); err != nil {
		return "", errors.Join(err, s.db.dropUpload(context.WithoutCancel(ctx), namespace, blobKey))
	}
	if err := s.db.finishUpload(ctx, namespace, blobKey); err != nil {
		return "", err
	}
	return uploadScheme + name + ":" + version, nil
}

// hearOutTimeout is how long a client whose upload was refused may go on.
const hearOutTimeout = 5 * time.Second

// hearOut lets a client finish what it says. Old command lines look at the
// answer only then: cut off in the middle, all they have to show is "EOF".
func hearOut(more <-chan chunk) {
	late := time.NewTimer(hearOutTimeout)
	defer late.Stop()
	for {
		select {
		case c := <-more:
			if c.err != nil {
				return
			}
		case <-late.C:
			return
		}
	}
}

// store writes a stream into the bucket. The blob appears when all of it has
// come, or not at all.
func (s *Service) store(ctx context.Context, blobKey string, data []byte, more <-chan chunk) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close it makes the bucket throw away what it has
	w, err := s.bucket.NewWriter(ctx, blobKey, &blob.WriterOptions{ContentType: "application/x-tar"})
	if err != nil {
		return fmt.Errorf("open blob: %w", err)
	}
	if err := s.copy(w, data, more); err != nil {
		cancel()
		w.Close() //nolint:errcheck // it answers that ctx was canceled
		return err
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("close blob: %w", err)
	}
	return nil
}

func (s *Service) copy(w io.Writer, data []byte, more <-chan chunk) error {
	late := time.NewTimer(s.opts.UploadTimeout)
	defer late.Stop()
	var size int64
	for {
		size += int64(len(data))
		if size > s.opts.UploadSize {
			return errors.NewHTTP(413, "the source is larger than %d MiB, which is the limit", s.opts.UploadSize>>20)
		}
		if _, err := w.Write(data); err != nil {
			return fmt.Errorf("write blob: %w", err)
		}
		select {
		case <-late.C:
			return errors.New(codes.DeadlineExceeded, "the upload took longer than %v", s.opts.UploadTimeout)
		case c := <-more:
			if c.err == io.EOF && size == 0 {
				return invalid("the source is empty")
			}
			if c.err == io.EOF {
				return nil
			}
			if c.err != nil {
				return c.err
			}
			data = c.GetData()
		}
	}
}

// chunk is what a stream had next.
type chunk struct {
	*runtimepb.UploadRequest
	err error
}

// receive reads a stream in a goroutine, so that its reader can stop waiting.
// It ends with the stream's handler; until then its last error comes again.
func receive(stream runtimepb.Source_UploadServer) <-chan chunk {
	out := make(chan chunk)
	go func() {
		var next chunk
		for {
			if next.err == nil {
				next.UploadRequest, next.err = stream.Recv()
			}
			select {
			case out <- next:
			case <-stream.Context().Done():
				return
			}
		}
	}()
	return out
}

// upload answers the blob that a source means: the newest upload of that name
// in the namespace, or "" for git.
func (s *Service) upload(ctx context.Context, namespace, source string) (string, error) {
	if !strings.HasPrefix(source, uploadScheme) {
		return "", nil
	}
	name, version, err := uploadName(source)
	if err != nil {
		return "", err
	}
	found, err := s.db.newestUpload(ctx, key{namespace, name, version})
	if err != nil {
		return "", err
	}
	if found == "" {
		return "", invalid("nothing was uploaded as %s: upload the source first", errors.Clip(source))
	}
	return found, nil
}

// sourcesOf is the folder of a namespace in the bucket.
func sourcesOf(namespace string) string { return "sources/" + namespace + "/" }

// discard removes uploads from the bucket, then from the database.
func (s *Service) discard(ctx context.Context, uploads []upload) error {
	for _, u := range uploads {
		if err := s.bucket.Delete(ctx, u.Key); err != nil && !gone(err) {
			return fmt.Errorf("delete blob: %w", err)
		}
		if err := s.db.dropUpload(ctx, u.Namespace, u.Key); err != nil {
			return err
		}
	}
	return nil
}

// sweepUploads removes what nothing will use.
func (s *Service) sweepUploads(ctx context.Context) error {
	found, err := s.db.unused(ctx, s.now().Add(-max(s.opts.UploadLife, s.opts.UploadTimeout+time.Minute)), 500)
	if err != nil {
		return err
	}
	return s.discard(ctx, found)
}

// builds implements the Build RPCs.
type builds struct {
	runtimepb.UnsafeBuildServer
}

// Read never finds a build to hand out: builds are images, and those go from
// the builder to the hosts. The RPC answers the way clients expect.
func (builds) Read(req *runtimepb.Service, stream runtimepb.Build_ReadServer) error {
	if _, ok := identity.From(stream.Context()); !ok {
		return errors.New(codes.Unauthenticated, "An account is required to read builds")
	}
	switch {
	case req.GetName() == "":
		return invalid("Missing name")
	case req.GetVersion() == "":
		return invalid("Missing version")
	}
	return errors.New(codes.NotFound, "Build not found")
}
