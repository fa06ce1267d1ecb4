package runtime

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/seal"
	runtimepb "github.com/micro/platform/proto/runtime"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a Service over a fake world, with what a test does to them.
type bench struct {
	t      *testing.T
	svc    *Service
	world  *world
	bucket *blob.Bucket
	admin  context.Context // the owner of namespace "acme"
}

func setup(t *testing.T) *bench {
	t.Helper()
	box, err := seal.New(seal.Cluster{Secret: pgtest.Secret}, "runtime")
	if err != nil {
		t.Fatal(err)
	}
	bucket := memblob.OpenBucket(nil)
	t.Cleanup(func() { bucket.Close() })
	w := newWorld()
	svc := New(pgtest.New(t, "runtime"), bucket, box, w.peers(), Options{
		Services: 3, Uploads: 5, UploadSize: 1 << 20, UploadTimeout: time.Minute, UploadLife: time.Hour,
		StartTimeout: 20 * time.Second, RegisterTimeout: time.Second, Timeout: time.Minute, Drain: 2 * time.Second, Keep: 2, Parallel: 50, PerNamespace: 10, Starts: 2,
	})
	return &bench{t: t, svc: svc, world: w, bucket: bucket, admin: as(t.Context(), "alice", "acme", "admin")}
}

// as is a context with that caller.
func as(ctx context.Context, account, namespace string, scopes ...string) context.Context {
	return identity.With(ctx, identity.Caller{ID: account, Type: identity.User, Namespace: namespace, Scopes: scopes})
}

// reconcile runs what the component runs, until stop is called or the test ends.
func (b *bench) reconcile() (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	log := slog.New(slog.NewTextHandler(b.t.Output(), nil))
	var work sync.WaitGroup
	work.Go(func() { b.svc.listen(ctx, log) })             //nolint:errcheck // ends with ctx
	work.Go(func() { newReconciler(b.svc, log).run(ctx) }) //nolint:errcheck // ends with ctx
	stop = sync.OnceFunc(func() { cancel(); work.Wait() })
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) create(name, source string, change ...func(*runtimepb.CreateRequest)) int64 {
	b.t.Helper()
	rsp, err := b.svc.Create(b.admin, createRequest(name, source, change...))
	if err != nil {
		b.t.Fatalf("Create(%s): %v", name, err)
	}
	return rsp.GetRevision()
}

func createRequest(name, source string, change ...func(*runtimepb.CreateRequest)) *runtimepb.CreateRequest {
	req := &runtimepb.CreateRequest{
		Resource: &runtimepb.Resource{Service: &runtimepb.Service{Name: name, Source: source}},
		Options:  &runtimepb.CreateOptions{},
	}
	for _, f := range change {
		f(req)
	}
	return req
}

func force(r *runtimepb.CreateRequest) { r.Options.Force = true }

func (b *bench) update(name, source string) int64 {
	b.t.Helper()
	rsp, err := b.svc.Update(b.admin, &runtimepb.UpdateRequest{Resource: &runtimepb.Resource{Service: &runtimepb.Service{Name: name, Source: source}}})
	if err != nil {
		b.t.Fatalf("Update(%s): %v", name, err)
	}
	return rsp.GetRevision()
}

func (b *bench) delete(name string) {
	b.t.Helper()
	_, err := b.svc.Delete(b.admin, &runtimepb.DeleteRequest{Resource: &runtimepb.Resource{Service: &runtimepb.Service{Name: name}}})
	if err != nil {
		b.t.Fatalf("Delete(%s): %v", name, err)
	}
}

// service answers a service as its owner sees it, nil if it is not there.
func (b *bench) service(name string) *runtimepb.Service {
	b.t.Helper()
	rsp, err := b.svc.Read(b.admin, &runtimepb.ReadRequest{Options: &runtimepb.ReadOptions{Service: name}})
	if err != nil {
		b.t.Fatal(err)
	}
	if len(rsp.GetServices()) == 0 {
		return nil
	}
	return rsp.GetServices()[0]
}

// await polls until ok holds.
func (b *bench) await(what string, ok func() bool) {
	b.t.Helper()
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if ok() {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("it did not come to this: %s; services: %v, deployments: %v", what, b.service(""), b.world.deployments)
		}
	}
}

// settled waits until the newest revision is in a state and nothing is left to
// be done.
func (b *bench) settled(name string, st state) *runtimepb.Service {
	b.t.Helper()
	var svc *runtimepb.Service
	b.await(name+" is "+string(st), func() bool {
		svc = b.service(name)
		return svc != nil && svc.GetStatus() == st.status() && b.idle()
	})
	return svc
}

func (b *bench) idle() bool {
	items, err := b.svc.db.work(b.t.Context(), 100, 100)
	return err == nil && len(items) == 0
}

// upload sends chunks as the source of a service.
func (b *bench) upload(ctx context.Context, name string, chunks ...string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // as gRPC does when the handler has returned
	s := &uploadStream{ctx: ctx}
	for i, c := range chunks {
		m := &runtimepb.UploadRequest{Data: []byte(c)}
		if i == 0 {
			m.Service = &runtimepb.Service{Name: name}
		}
		s.in = append(s.in, m)
	}
	err := sources{svc: b.svc}.Upload(s)
	return s.out.GetId(), err
}

type uploadStream struct {
	grpc.ServerStream
	ctx context.Context
	in  []*runtimepb.UploadRequest
	out *runtimepb.UploadResponse
}

func (s *uploadStream) Context() context.Context { return s.ctx }

func (s *uploadStream) Recv() (*runtimepb.UploadRequest, error) {
	if len(s.in) == 0 {
		return nil, io.EOF
	}
	m := s.in[0]
	s.in = s.in[1:]
	return m, nil
}

func (s *uploadStream) SendAndClose(m *runtimepb.UploadResponse) error {
	s.out = m
	return nil
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	long := strings.Repeat("x", 70_000)
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		change func(*runtimepb.CreateRequest)
		want   codes.Code
	}{
		{"anonymous", t.Context(), func(*runtimepb.CreateRequest) {}, codes.Unauthenticated},
		{"a member", as(t.Context(), "bob", "acme"), func(*runtimepb.CreateRequest) {}, codes.PermissionDenied},
		{"another namespace", b.admin, func(r *runtimepb.CreateRequest) { r.Options.Namespace = "globex" }, codes.PermissionDenied},
		{"no resource", b.admin, func(r *runtimepb.CreateRequest) { r.Resource = nil }, codes.InvalidArgument},
		{"a quota", b.admin, func(r *runtimepb.CreateRequest) {
			r.Resource = &runtimepb.Resource{Resourcequota: &runtimepb.ResourceQuota{}}
		}, codes.InvalidArgument},
		{"no name", b.admin, func(r *runtimepb.CreateRequest) { r.Resource.Service.Name = "" }, codes.InvalidArgument},
		{"upper case", b.admin, func(r *runtimepb.CreateRequest) { r.Resource.Service.Name = "Hello" }, codes.InvalidArgument},
		{"reserved", b.admin, func(r *runtimepb.CreateRequest) { r.Resource.Service.Name = "auth" }, codes.InvalidArgument},
		{"version with dots", b.admin, func(r *runtimepb.CreateRequest) { r.Resource.Service.Version = "a/../b" }, codes.InvalidArgument},
		{"no source", b.admin, func(r *runtimepb.CreateRequest) { r.Resource.Service.Source = "" }, codes.InvalidArgument},
		{"a local path", b.admin, func(r *runtimepb.CreateRequest) { r.Resource.Service.Source = "/etc" }, codes.InvalidArgument},
		{"file URL", b.admin, func(r *runtimepb.CreateRequest) { r.Resource.Service.Source = "file:///etc" }, codes.InvalidArgument},
		{"never uploaded", b.admin, func(r *runtimepb.CreateRequest) { r.Resource.Service.Source = "source://hello:latest" }, codes.InvalidArgument},
		{"an image", b.admin, func(r *runtimepb.CreateRequest) { r.Options.Image = "nginx" }, codes.InvalidArgument},
		{"a volume", b.admin, func(r *runtimepb.CreateRequest) { r.Options.Volumes = map[string]string{"/": "/"} }, codes.InvalidArgument},
		{"no instances", b.admin, func(r *runtimepb.CreateRequest) { r.Options.Instances = -1 }, codes.InvalidArgument},
		{"11 instances", b.admin, func(r *runtimepb.CreateRequest) { r.Options.Instances = 11 }, codes.InvalidArgument},
		{"the platform's variable", b.admin, func(r *runtimepb.CreateRequest) { r.Options.Env = []string{"MICRO_NAMESPACE=x"} }, codes.InvalidArgument},
		{"the platform's variable as a secret", b.admin, func(r *runtimepb.CreateRequest) {
			r.Options.Secrets = map[string]string{"MICRO_CLIENT_ID": "x"}
		}, codes.InvalidArgument},
		{"too much env", b.admin, func(r *runtimepb.CreateRequest) { r.Options.Env = []string{"A=" + long} }, codes.InvalidArgument},
		{"NUL in env", b.admin, func(r *runtimepb.CreateRequest) { r.Options.Env = []string{"A=\x00"} }, codes.InvalidArgument},
		{"entrypoint outside", b.admin, func(r *runtimepb.CreateRequest) { r.Options.Entrypoint = "a/../../b" }, codes.InvalidArgument},
		{"a host label that is none", b.admin, func(r *runtimepb.CreateRequest) {
			r.Resource.Service.Metadata = map[string]string{"host.zone": "a==b"}
		}, codes.InvalidArgument},
		{"metadata of two lines", b.admin, func(r *runtimepb.CreateRequest) {
			r.Resource.Service.Metadata = map[string]string{"a": "b\nc"}
		}, codes.InvalidArgument},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := b.svc.Create(tt.ctx, createRequest("hello", "github.com/acme/hello", tt.change))
			if got := errors.Code(err); got != tt.want {
				t.Fatalf("Create = %v, want %v", err, tt.want)
			}
		})
	}
	if got := b.service(""); got != nil {
		t.Fatalf("refused requests left %v", got)
	}
}

func TestCreateOfLiveServiceStartsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if n := b.create("hello", "github.com/acme/hello"); n != 1 {
		t.Fatalf("first revision is %d", n)
	}
	if n := b.create("hello", "github.com/acme/other"); n != 0 {
		t.Fatalf("second Create made revision %d", n)
	}
	if got := b.service("hello").GetSource(); got != "github.com/acme/other" {
		t.Fatalf("source is %q: the record is not changed", got)
	}
	if n := b.create("hello", "github.com/acme/hello", force); n != 2 {
		t.Fatalf("forced revision is %d", n)
	}
}

func TestServicesOfANamespaceAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, name := range []string{"a", "b", "c"} {
		b.create(name, "github.com/acme/hello")
	}
	_, err := b.svc.Create(b.admin, createRequest("d", "github.com/acme/hello"))
	if errors.Code(err) != codes.ResourceExhausted {
		t.Fatalf("the fourth of three services: %v", err)
	}
	b.create("c", "github.com/acme/hello", force)
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.admin = metadata.NewIncomingContext(b.admin, metadata.Pairs("idempotency-key", "k1"))
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			if rsp, err := b.svc.Create(b.admin, createRequest("hello", "github.com/acme/hello", force)); err != nil || rsp.GetRevision() != 1 {
				t.Errorf("Create = %v, %v", rsp, err)
			}
		})
	}
	calls.Wait()
	_, err := b.svc.Create(b.admin, createRequest("hello", "github.com/acme/other", force))
	if got := errors.FromError(err); got == nil || got.HTTP != 422 {
		t.Fatalf("another request with the same key: %v", err)
	}
	if got := b.service("hello").GetMetadata()["revision"]; got != "1" {
		t.Fatalf("revision is %s", got)
	}
}

func TestNamespacesDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create("hello", "github.com/acme/hello")
	mallory := as(t.Context(), "mallory", "globex", "admin")
	rsp, err := b.svc.Read(mallory, &runtimepb.ReadRequest{Options: &runtimepb.ReadOptions{Service: "hello", Namespace: "micro"}})
	if err != nil || len(rsp.GetServices()) != 0 {
		t.Fatalf("Read = %v, %v", rsp, err)
	}
	hello := &runtimepb.Resource{Service: &runtimepb.Service{Name: "hello"}}
	if _, err := b.svc.Delete(mallory, &runtimepb.DeleteRequest{Resource: hello}); errors.Code(err) != codes.NotFound || err.Error() != "not found" {
		t.Fatalf("Delete = %v", err)
	}
	if _, err := b.svc.Update(mallory, &runtimepb.UpdateRequest{Resource: hello}); errors.Code(err) != codes.NotFound || err.Error() != "not found" {
		t.Fatalf("Update = %v", err)
	}
	if _, err := b.svc.Read(mallory, &runtimepb.ReadRequest{Options: &runtimepb.ReadOptions{Namespace: "acme"}}); errors.Code(err) != codes.PermissionDenied {
		t.Fatalf("Read of acme = %v", err)
	}
	logs := &logRecorder{ctx: mallory}
	if err := b.svc.Logs(&runtimepb.LogsRequest{Service: "hello"}, logs); errors.Code(err) != codes.NotFound {
		t.Fatalf("Logs = %v", err)
	}
	if b.service("hello").GetStatus() != pending.status() {
		t.Fatal("acme's service has changed")
	}
}
