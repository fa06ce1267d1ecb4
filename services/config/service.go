package config

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/seal"
	configpb "github.com/micro/platform/proto/config"
)

// Options come from MICRO_CONFIG_*.
type Options struct {
	MaxBytes  int `env:"MAX_BYTES"  default:"1048576" help:"bytes that the document of one namespace may have"`
	MaxValues int `env:"MAX_VALUES" default:"10000"   help:"values that the document of one namespace may have"`
	History   int `env:"HISTORY"    default:"100"     help:"versions that are kept of one namespace"`
	Watchers  int `env:"WATCHERS"   default:"1000"    help:"watchers that one namespace may have at one process"`
}

// Component runs the service, alone or beside the others.
var Component = app.New("config", func(ctx context.Context, h *app.Host, o Options) error {
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	box, err := seal.New(h.Platform.Secrets(), h.Name)
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	svc := New(pool, box, h.Log, o)
	if err := svc.Prepare(ctx); err != nil {
		return err
	}
	configpb.RegisterConfigServer(s, svc)
	configpb.RegisterComponentsServer(s, components{Service: svc})
	h.Go("listen", svc.Listen)
	return h.Serve(s)
})

// Service implements the Config RPCs.
type Service struct {
	configpb.UnsafeConfigServer

	db    db
	vault *vault
	hub   *hub
	opts  Options
	now   func() time.Time
	// rekeyTime bounds a Rekey.
	rekeyTime time.Duration
}

// New makes a Service. Prepare comes before the first call; Watch needs Listen
// running.
func New(pool *pgxpool.Pool, box *seal.Box, log *slog.Logger, o Options) *Service {
	d := db{pool}
	return &Service{db: d, vault: &vault{db: d, box: box}, hub: newHub(d, log, o.Watchers), opts: o, now: time.Now, rekeyTime: rekeyTime}
}

// Prepare makes the keys of secrets if there are none, and loads them.
func (s *Service) Prepare(ctx context.Context) error { return s.vault.prepare(ctx) }

// Listen hears of changes until ctx ends.
func (s *Service) Listen(ctx context.Context) error { return s.hub.run(ctx) }

// hidden is what a secret looks like to those who did not ask for it.
const hidden = "[secret]"

// Get implements Config.
func (s *Service) Get(ctx context.Context, req *configpb.GetRequest) (*configpb.GetResponse, error) {
	v, err := s.view(ctx, req.GetNamespace(), req.GetPath(), req.GetOptions().GetSecret())
	if err != nil {
		return nil, err
	}
	data, version, err := s.read(ctx, v)
	if err != nil {
		return nil, err
	}
	return &configpb.GetResponse{Value: &configpb.Value{Data: data}, Version: version}, nil
}

// Read implements Config.
func (s *Service) Read(ctx context.Context, req *configpb.ReadRequest) (*configpb.ReadResponse, error) {
	rsp, err := s.Get(ctx, &configpb.GetRequest{Namespace: req.GetNamespace(), Path: req.GetPath()})
	if err != nil {
		return nil, err
	}
	data := rsp.GetValue().GetData()
	sum := sha256.Sum256([]byte(data))
	return &configpb.ReadResponse{Change: &configpb.Change{
		Namespace: req.GetNamespace(), Path: req.GetPath(),
		ChangeSet: &configpb.ChangeSet{Data: data, Checksum: hex.EncodeToString(sum[:]), Format: "json", Source: "config", Timestamp: s.now().Unix()},
	}}, nil
}

// view is what a caller wants to see, and may.
type view struct {
	namespace string
	path      []string
	secrets   bool
}

func (s *Service) view(ctx context.Context, namespace, path string, secrets bool) (view, error) {
	ns, err := identity.Member(ctx, namespace)
	if err != nil {
		return view{}, err
	}
	caller, _ := identity.From(ctx)
	if secrets && caller.Limited() && !grants.Secrets(caller.Grants) {
		return view{}, errors.New(codes.PermissionDenied, "an API token, and what was deployed with one, reads secrets only with the grant config:*:write, or config:Secrets:read beside one of reading: its own are %s",
			strings.Join(grants.Texts(caller.Grants), ", "))
	}
	if secrets && !readsSecrets(caller) {
		return view{}, errors.New(codes.PermissionDenied, "account %q may not read secrets: it needs the scope admin, developer or config.secrets", caller.ID)
	}
	keys, err := parsePath(path)
	return view{ns, keys, secrets}, err
}

func readsSecrets(c identity.Caller) bool {
	return c.Admin() || c.IsComponent() || c.Role() == grants.Developer || c.Deployed() || c.Type == identity.User && c.Has("developer") || c.Has("config.secrets")
}

// read answers what a view has of the document as it is now.
func (s *Service) read(ctx context.Context, v view) (data string, version int64, err error) {
	kept, err := s.db.read(ctx, v.namespace)
	if err != nil {
		return "", 0, err
	}
	keys, err := s.vault.use(sealedKeys{Version: kept.KeysVersion, Keys: kept.Keys})
	if err != nil {
		return "", 0, err
	}
	data, err = v.show(kept.stored, keys)
	return data, kept.Version, err
}

// show answers what a view has of a document, as JSON.
func (v view) show(kept stored, keys *seal.Keys) (string, error) {
	d, err := kept.load()
	if err != nil {
		return "", err
	}
	uncover := func(path string, leaf any) any {
		sealed, ok := leaf.(secret)
		if !ok {
			return leaf
		}
		if !v.secrets {
			return hidden
		}
		open, openErr := openSecret(keys, v.namespace, path, sealed)
		err = errors.Join(err, openErr)
		return open
	}
	found := d.get(v.path)
	if node, ok := found.(document); ok {
		found = node.leaves(dotted(v.path), uncover)
	} else {
		found = uncover(dotted(v.path), found)
	}
	if err != nil {
		return "", err
	}
	data, err := encode(found)
	return string(data), err
}

// Set implements Config.
func (s *Service) Set(ctx context.Context, req *configpb.SetRequest) (*configpb.SetResponse, error) {
	c, err := s.change(ctx, "set", req.GetNamespace(), req.GetPath(), req.GetExpectedVersion())
	if err != nil {
		return nil, err
	}
	if req.GetValue() == nil {
		return nil, invalid("invalid change").From("config.Config.Update")
	}
	if n := len(req.GetValue().GetData()); n > s.opts.MaxBytes {
		return nil, s.tooLarge(n)
	}
	value, err := parseValue(req.GetValue().GetData(), len(c.keys))
	if err != nil {
		return nil, err
	}
	node, isNode := value.(document)
	if len(c.keys) == 0 && !isNode {
		return nil, invalid("the whole document is an object: write a path, or send an object")
	}
	c.creates = true
	c.apply = func(ctx context.Context, tx tx, d document) error {
		cover := &sealer{}
		if req.GetOptions().GetSecret() {
			var err error
			if cover, err = s.vault.sealer(ctx, tx, c.namespace); err != nil {
				return err
			}
		}
		var put any
		leaf := d.keepHidden(cover.leaf)
		if isNode {
			put = node.leaves(dotted(c.keys), leaf)
		} else {
			put = leaf(dotted(c.keys), value)
		}
		if cover.err != nil {
			return cover.err
		}
		d.merge(c.keys, put)
		return s.checkSize(d)
	}
	version, err := s.db.change(ctx, c)
	if err != nil {
		return nil, err
	}
	return &configpb.SetResponse{Version: version}, nil
}

// checkSize holds a document to its limits, its bytes as they are kept.
func (s *Service) checkSize(d document) error {
	if n := d.count(); n > s.opts.MaxValues {
		return errors.New(codes.ResourceExhausted, "the document would have %d values, at most %d are allowed", n, s.opts.MaxValues)
	}
	kept, err := d.save()
	if err != nil {
		return err
	}
	n := len(kept.Document)
	for path, sealed := range kept.Secrets {
		n += len(path) + len(sealed)
	}
	if n > s.opts.MaxBytes {
		return s.tooLarge(n)
	}
	return nil
}

func (s *Service) tooLarge(n int) error {
	return errors.New(codes.ResourceExhausted, "the document would have %d bytes, at most %d are allowed", n, s.opts.MaxBytes)
}

// Delete implements Config.
func (s *Service) Delete(ctx context.Context, req *configpb.DeleteRequest) (*configpb.DeleteResponse, error) {
	c, err := s.change(ctx, "delete", req.GetNamespace(), req.GetPath(), req.GetExpectedVersion())
	if err != nil {
		return nil, err
	}
	c.apply = func(_ context.Context, _ tx, d document) error {
		d.remove(c.keys)
		return nil
	}
	version, err := s.db.change(ctx, c)
	if err != nil {
		return nil, err
	}
	return &configpb.DeleteResponse{Version: version}, nil
}

// change begins a change that the caller may make.
func (s *Service) change(ctx context.Context, action, namespace, path string, expected int64) (change, error) {
	ns, err := identity.Admin(ctx, namespace)
	if err != nil {
		return change{}, err
	}
	if expected < 0 {
		return change{}, invalid("expected_version %d is negative", expected)
	}
	keys, err := parsePath(path)
	caller, _ := identity.From(ctx)
	return change{
		namespace: ns, keys: keys, expected: expected, keep: s.opts.History,
		record: record{Action: action, Path: path, Account: caller.ID, AccountName: caller.Name},
	}, err
}
