package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gocloud.dev/blob"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/tenants"
	authpb "github.com/micro/platform/proto/auth"
	builderpb "github.com/micro/platform/proto/builder"
	eventspb "github.com/micro/platform/proto/events"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// Options come from MICRO_RUNTIME_*.
type Options struct {
	Services        int           `env:"SERVICES"         default:"100"   help:"services that a namespace may have"`
	Uploads         int           `env:"UPLOADS"          default:"150"   help:"uploaded sources that a namespace may have, those of its services included"`
	UploadSize      int64         `env:"UPLOAD_SIZE"      default:"524288000" help:"bytes that an uploaded source may have"`
	UploadTimeout   time.Duration `env:"UPLOAD_TIMEOUT"   default:"30m"   help:"time that an upload may take"`
	UploadLife      time.Duration `env:"UPLOAD_LIFE"      default:"2h"    help:"time after which an upload that nothing uses is removed"`
	StartTimeout    time.Duration `env:"START_TIMEOUT"    default:"3m"    help:"time from an image to containers that answer"`
	RegisterTimeout time.Duration `env:"REGISTER_TIMEOUT" default:"30s"   help:"time from containers that answer to their registration"`
	Timeout         time.Duration `env:"TIMEOUT"          default:"1h"    help:"time that a revision may be pending, building or starting, whatever it waits for, until it ends in error"`
	Drain           time.Duration `env:"DRAIN"            default:"30s"   zero:"ok" help:"time that calls and streams have to end on a revision that was replaced, before its containers are told to stop"`
	Keep            int           `env:"KEEP"             default:"5"     help:"ended revisions that are kept of a service"`
	Parallel        int           `env:"PARALLEL"         default:"512"   help:"revisions that are worked on at once"`
	Starts          int           `env:"STARTS"           default:"8"     help:"revisions whose containers are started at once, on all hosts together; those that take longer than 10 s do not count"`
	PerNamespace    int           `env:"PER_NAMESPACE"    default:"16"    help:"revisions of one namespace that are worked on at once"`
}

// Component runs the service, alone or beside the others.
var Component = app.New("runtime", func(ctx context.Context, h *app.Host, o Options) error {
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	bucket, err := h.Bucket(ctx)
	if err != nil {
		return err
	}
	box, err := seal.New(h.Platform.Secrets(), h.Name)
	if err != nil {
		return err
	}
	peers, err := connect(h)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	if peers.Tenants, err = tenants.Open(h, func(string) {
		select {
		case changed <- struct{}{}:
		default: // it has not yet looked since the last change
		}
	}); err != nil {
		return err
	}
	svc := New(pool, bucket, box, peers, o)
	svc.tenantsChanged = changed
	events, err := h.Conn("events")
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	runtimepb.RegisterRuntimeServer(s, svc)
	runtimepb.RegisterSourceServer(s, sources{svc: svc})
	runtimepb.RegisterBuildServer(s, builds{})
	runtimepb.RegisterComponentsServer(s, componentsAPI{s: svc, dir: h.BucketDir()})
	h.Go("listen", func(ctx context.Context) error { return svc.listen(ctx, h.Log) })
	h.Lead("reconcile", "runtime reconciler", pool, func(ctx context.Context) error { return newReconciler(svc, h.Log).run(ctx) })
	h.Lead("news", "runtime news", pool, func(ctx context.Context) error {
		return newsLoop(ctx, svc.db, eventspb.NewStreamClient(events), h.Log)
	})
	return h.Serve(s)
})

// Peers are the components that the runtime works through.
type Peers struct {
	Builder   builderpb.BuilderClient
	Scheduler schedulerpb.SchedulerClient
	Auth      authpb.AuthClient
	Accounts  authpb.AccountsClient
	Registry  registrypb.RegistryClient
	Nodes     registrypb.NodesClient
	Tenants   *tenants.Tenants
}

func connect(h *app.Host) (Peers, error) {
	builder, err1 := h.Conn("builder")
	scheduler, err2 := h.Conn("scheduler")
	auth, err3 := h.Conn("auth")
	registry, err4 := h.Conn("registry")
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return Peers{}, err
		}
	}
	return Peers{
		Builder: builderpb.NewBuilderClient(builder), Scheduler: schedulerpb.NewSchedulerClient(scheduler),
		Auth: authpb.NewAuthClient(auth), Accounts: authpb.NewAccountsClient(auth),
		Registry: registrypb.NewRegistryClient(registry), Nodes: registrypb.NewNodesClient(registry),
	}, nil
}

// Service implements the Runtime RPCs.
type Service struct {
	runtimepb.UnsafeRuntimeServer // an RPC that is missing does not compile

	db     db
	bucket *blob.Bucket
	box    *seal.Box
	peers  Peers
	opts   Options
	hub    *hub
	now    func() time.Time
	// tenantsChanged says that suspensions or throttles may have changed.
	tenantsChanged <-chan struct{}
}

// New makes a Service.
func New(pool *pgxpool.Pool, bucket *blob.Bucket, box *seal.Box, peers Peers, o Options) *Service {
	return &Service{db: db{pool}, bucket: bucket, box: box, peers: peers, opts: o, hub: newHub(), now: time.Now}
}

// spec is what a revision is made of besides its source. It is sealed where it
// is stored, since people put secrets into the environment.
type spec struct {
	Entrypoint string            `json:"entrypoint,omitempty"`
	Instances  int64             `json:"instances"`
	Env        []string          `json:"env,omitempty"`
	Secrets    map[string]string `json:"secrets,omitempty"`
	Command    []string          `json:"command,omitempty"`
	Args       []string          `json:"args,omitempty"`
	// Hosts is what labels of a host must be for it to run there.
	Hosts map[string]string `json:"hosts,omitempty"`
	// Grants limit what the revision may do: those of the API token that deployed
	// it. Nil is no limit, and an empty list is the tightest.
	Grants []string `json:"grants"`
}

func (s *Service) sealSpec(k key, sp spec) ([]byte, error) {
	text, err := json.Marshal(sp)
	if err != nil {
		return nil, fmt.Errorf("encode spec of %s: %w", k, err)
	}
	return s.box.Seal(text, k.String()), nil
}

func (s *Service) openSpec(k key, sealed []byte) (spec, error) {
	var sp spec
	text, err := s.box.Open(sealed, k.String())
	if err != nil {
		return sp, fmt.Errorf("open spec of %s: %w", k, err)
	}
	if err := json.Unmarshal(text, &sp); err != nil {
		return sp, fmt.Errorf("decode spec of %s: %w", k, err)
	}
	return sp, nil
}

// Sealed is what is sealed with the cluster secret.
func Sealed() []seal.Column {
	service := func(k []any) key { return key{k[0].(string), k[1].(string), k[2].(string)} }
	ofService := func(k []any) string { return service(k).String() }
	number := []string{"namespace", "name", "version", "number"}
	return []seal.Column{
		{What: "specs of services", Box: "runtime", Table: "runtime.services", Key: number[:3], Read: "spec", Write: "spec = $1", Owner: ofService},
		{What: "specs of revisions", Box: "runtime", Table: "runtime.revisions", Key: number, Read: "spec", Write: "spec = $1", Owner: ofService},
		{What: "accounts of revisions", Box: "runtime", Table: "runtime.revisions", Key: number, Read: "secret", Write: "secret = $1",
			Owner: func(k []any) string { return revision{key: service(k), Number: k[3].(int64)}.String() }},
	}
}

// Create writes a service down, and a revision of it unless one is live.
func (s *Service) Create(ctx context.Context, req *runtimepb.CreateRequest) (*runtimepb.CreateResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	svc, err := checkResource(req.GetResource())
	if err != nil {
		return nil, err
	}
	k, sp, err := checkCreate(namespace, svc, req.GetOptions())
	if err != nil {
		return nil, err
	}
	services, err := s.checkPlan(ctx, namespace, sp.Instances)
	if err != nil {
		return nil, err
	}
	sp.Grants = limitsOf(ctx)
	sealed, err := s.sealSpec(k, sp)
	if err != nil {
		return nil, err
	}
	uploaded, err := s.upload(ctx, namespace, svc.GetSource())
	if err != nil {
		return nil, err
	}
	r, err := idempotency(ctx, "Create", req)
	if err != nil {
		return nil, err
	}
	wanted := record{Source: svc.GetSource(), Spec: sealed, Metadata: metadataOf(svc), Owner: owner(ctx)}
	number, err := s.db.change(ctx, k, r, services, func(old *existing) (plan, error) {
		start := old == nil || old.Deleted || req.GetOptions().GetForce() || !old.State.live()
		return plan{record: wanted, Upload: uploaded, Start: start, Instances: sp.Instances, News: serviceCreated}, nil
	})
	if err != nil {
		return nil, err
	}
	return &runtimepb.CreateResponse{Revision: number}, nil
}

func checkCreate(namespace string, svc *runtimepb.Service, o *runtimepb.CreateOptions) (key, spec, error) {
	name, version, err := checkName(svc.GetName(), svc.GetVersion())
	if err != nil {
		return key{}, spec{}, err
	}
	instances, err := checkInstances(o.GetInstances())
	if err != nil {
		return key{}, spec{}, err
	}
	for _, err := range []error{
		checkFree(name), checkOptions(o), checkSource(svc.GetSource()), checkEntrypoint(o.GetEntrypoint()),
		checkEnv(o.GetEnv(), o.GetSecrets()), checkArgs(o.GetCommand(), o.GetArgs()), checkMetadata(svc.GetMetadata()),
	} {
		if err != nil {
			return key{}, spec{}, err
		}
	}
	return key{namespace, name, version}, spec{
		Entrypoint: o.GetEntrypoint(), Instances: instances, Env: o.GetEnv(), Secrets: o.GetSecrets(),
		Command: o.GetCommand(), Args: o.GetArgs(), Hosts: hostsOf(svc.GetMetadata()),
	}, nil
}

// Update makes a new revision of a service, from its source as it is now.
func (s *Service) Update(ctx context.Context, req *runtimepb.UpdateRequest) (*runtimepb.UpdateResponse, error) {
	o := req.GetOptions()
	namespace, err := identity.Admin(ctx, o.GetNamespace())
	if err != nil {
		return nil, err
	}
	svc, err := checkResource(req.GetResource())
	if err != nil {
		return nil, err
	}
	k, err := checkUpdate(namespace, svc, o)
	if err != nil {
		return nil, err
	}
	r, err := idempotency(ctx, "Update", req)
	if err != nil {
		return nil, err
	}
	services, err := s.checkPlan(ctx, namespace, o.GetInstances())
	if err != nil {
		return nil, err
	}
	source, err := s.sourceOf(ctx, k, svc)
	if err != nil {
		return nil, err
	}
	uploaded, err := s.upload(ctx, namespace, source)
	if err != nil {
		return nil, err
	}
	number, err := s.db.change(ctx, k, r, services, func(old *existing) (plan, error) {
		if old == nil || old.Deleted {
			return plan{}, errNotFound
		}
		p, err := s.updated(ctx, k, old, svc, o)
		p.Source, p.Upload = source, uploaded
		return p, err
	})
	if err != nil {
		return nil, err
	}
	return &runtimepb.UpdateResponse{Revision: number}, nil
}

// updated is a service as it was, but for what an update says.
func (s *Service) updated(ctx context.Context, k key, old *existing, svc *runtimepb.Service, o *runtimepb.UpdateOptions) (plan, error) {
	sp, err := s.openSpec(k, old.Spec)
	if err != nil {
		return plan{}, err
	}
	if sp, err = sp.with(o); err != nil {
		return plan{}, err
	}
	if svc.GetSource() != "" {
		sp.Grants = nil // not the code that the limits were about
	}
	if sp.Grants, err = narrow(sp.Grants, limitsOf(ctx)); err != nil {
		return plan{}, fmt.Errorf("limits of %s: %w", k, err)
	}
	kept := old.Metadata
	maps.Copy(kept, svc.GetMetadata())
	if err := checkMetadata(kept); err != nil {
		return plan{}, err
	}
	sp.Hosts = hostsOf(kept)
	sealed, err := s.sealSpec(k, sp)
	if err != nil {
		return plan{}, err
	}
	return plan{record: record{Spec: sealed, Metadata: kept, Owner: owner(ctx)}, Start: true, Instances: sp.Instances, News: serviceUpdated}, nil
}

func checkUpdate(namespace string, svc *runtimepb.Service, o *runtimepb.UpdateOptions) (key, error) {
	name, version, err := checkName(svc.GetName(), svc.GetVersion())
	if err != nil {
		return key{}, err
	}
	if svc.GetSource() != "" {
		if err := checkSource(svc.GetSource()); err != nil {
			return key{}, err
		}
	}
	if _, err := checkInstances(o.GetInstances()); err != nil {
		return key{}, err
	}
	for _, err := range []error{checkEntrypoint(o.GetEntrypoint()), checkEnv(o.GetEnv(), o.GetSecrets()), checkMetadata(svc.GetMetadata())} {
		if err != nil {
			return key{}, err
		}
	}
	return key{namespace, name, version}, nil
}

// sourceOf is the source that an update names, or the one there is.
func (s *Service) sourceOf(ctx context.Context, k key, svc *runtimepb.Service) (string, error) {
	if svc.GetSource() != "" {
		return svc.GetSource(), nil
	}
	found, err := s.db.read(ctx, k)
	if err != nil {
		return "", err
	}
	if len(found) == 0 || found[0].Deleted {
		return "", errNotFound
	}
	return found[0].Source, nil
}

// with answers the spec with what an update changes.
func (sp spec) with(o *runtimepb.UpdateOptions) (spec, error) {
	if o.GetEntrypoint() != "" {
		sp.Entrypoint = o.GetEntrypoint()
	}
	if o.GetInstances() > 0 {
		sp.Instances = o.GetInstances()
	}
	for _, e := range o.GetEnv() {
		name, _, _ := strings.Cut(e, "=")
		sp.Env = slices.DeleteFunc(sp.Env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		sp.Env = append(sp.Env, e)
	}
	if sp.Secrets == nil {
		sp.Secrets = map[string]string{}
	}
	maps.Copy(sp.Secrets, o.GetSecrets())
	return sp, checkEnv(sp.Env, sp.Secrets)
}

// Delete marks a service as deleted; the reconciler removes what there is.
func (s *Service) Delete(ctx context.Context, req *runtimepb.DeleteRequest) (*runtimepb.DeleteResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return nil, err
	}
	svc, err := checkResource(req.GetResource())
	if err != nil {
		return nil, err
	}
	name, version, err := checkName(svc.GetName(), svc.GetVersion())
	if err != nil {
		return nil, errNotFound // the CLI sends here whatever was typed
	}
	if err := s.db.remove(ctx, key{namespace, name, version}); err != nil {
		return nil, err
	}
	return &runtimepb.DeleteResponse{}, nil
}

// owner is how a service's owner is shown.
func owner(ctx context.Context) string {
	c, _ := identity.From(ctx)
	if c.Name != "" {
		return c.Name
	}
	return c.ID
}

// metadataOf is the caller's metadata, never nil.
func metadataOf(svc *runtimepb.Service) map[string]string {
	m := maps.Clone(svc.GetMetadata())
	if m == nil {
		m = map[string]string{}
	}
	return m
}

// idempotency answers the idempotency key that came with a request, and the
// hash of the request.
func idempotency(ctx context.Context, method string, req proto.Message) (request, error) {
	values := metadata.ValueFromIncomingContext(ctx, "idempotency-key")
	if len(values) == 0 {
		return request{}, nil
	}
	if len(values) > 1 || values[0] == "" || len(values[0]) > 255 || !printable(values[0]) {
		return request{}, invalid("idempotency-key: one of 1 to 255 characters")
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return request{}, fmt.Errorf("encode request: %w", err)
	}
	sum := sha256.Sum256(append([]byte(method+"\n"), b...))
	return request{Key: values[0], Hash: sum[:]}, nil
}
