package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"gocloud.dev/blob"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/stale"
	"github.com/micro/platform/internal/tenants"
	storepb "github.com/micro/platform/proto/store"
)

// Options come from MICRO_STORE_*. What one namespace may have holds where its
// plan has no limit.
type Options struct {
	MaxValue     int           `env:"MAX_VALUE"      default:"4194304"     help:"bytes of one value"`
	MaxKeys      int64         `env:"MAX_KEYS"       default:"5000000"     help:"records that one namespace may have"`
	MaxBytes     int64         `env:"MAX_BYTES"      default:"2147483648"  help:"bytes of keys, values and metadata that one namespace may have"`
	MaxTables    int           `env:"MAX_TABLES"     default:"1000"        help:"tables that one namespace may have"`
	MaxBlob      int64         `env:"MAX_BLOB"       default:"104857600"   help:"bytes of one blob"`
	MaxBlobs     int64         `env:"MAX_BLOBS"      default:"100000"      help:"blobs that one namespace may have"`
	MaxBlobBytes int64         `env:"MAX_BLOB_BYTES" default:"10737418240" help:"bytes of blobs that one namespace may have"`
	Sweep        time.Duration `env:"SWEEP"          default:"5s"          help:"time between two looks for records whose time is up; none is ever seen after it"`
	Replicas     int           `env:"REPLICAS"       default:"0"           help:"replicas of Redis that must have a write before it is acknowledged"`
}

// Component runs the service, alone or beside the others.
var Component = app.New("store", func(ctx context.Context, h *app.Host, o Options) error {
	rdb, err := h.Durable()
	if err != nil {
		return err
	}
	bucket, err := h.Bucket(ctx)
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	t, err := tenants.Open(h, nil)
	if err != nil {
		return err
	}
	svc := New(rdb, bucket, t, h.Log, o)
	svc.warnUnlessDurable(ctx)
	storepb.RegisterStoreServer(s, svc)
	storepb.RegisterBlobStoreServer(s, svc.Blobs())
	storepb.RegisterComponentsServer(s, componentsAPI{s: svc, dir: h.BucketDir()})
	h.Go("sweep", svc.sweepLoop)
	return h.Serve(s)
})

// Service implements the Store RPCs.
type Service struct {
	storepb.UnsafeStoreServer

	db      db
	usage   *stale.Cache[space]
	bucket  *blob.Bucket
	tenants *tenants.Tenants
	log     *slog.Logger
	opts    Options
}

// New makes a Service. Its sweeper gives back the room of what has expired.
func New(rdb redis.UniversalClient, bucket *blob.Bucket, t *tenants.Tenants, log *slog.Logger, o Options) *Service {
	d := newDB(rdb, o.Replicas)
	return &Service{db: d, usage: newUsage(d, time.Now), bucket: bucket, tenants: t, log: log, opts: o}
}

// warnUnlessDurable tells an operator whose Redis would lose what it answered.
// One that does not say what it is set to is left alone.
func (s *Service) warnUnlessDurable(ctx context.Context) {
	set, err := s.db.redis.ConfigGet(ctx, "append*").Result()
	if err == nil && (set["appendonly"] != "yes" || set["appendfsync"] != "always") {
		s.log.WarnContext(ctx, "records may be lost when Redis ends: MICRO_DURABLE_REDIS_URL wants appendonly yes and appendfsync always",
			"appendonly", set["appendonly"], "appendfsync", set["appendfsync"])
	}
}

// maxAnswer bounds a unary answer. A record counts with what is around it in
// the message and in memory, or a million empty ones would be one answer.
const (
	maxAnswer    = 15 << 20
	aroundRecord = 32
)

// Bounds of one look into Redis.
const (
	pageKeys  = 1000
	pageBytes = 1 << 20
)

// unit answers the table that a request means, for a caller who may have it.
func (s *Service) unit(ctx context.Context, database, table string) (unit, error) {
	ns, err := identity.Admin(ctx, database)
	if err != nil {
		return unit{}, err
	}
	if err := checkName("database", ns); err != nil {
		return unit{}, err
	}
	table, err = cleanTable(table)
	return unit{ns, table}, err
}

// Read implements Store.
func (s *Service) Read(ctx context.Context, req *storepb.ReadRequest) (*storepb.ReadResponse, error) {
	o := req.GetOptions()
	u, err := s.unit(ctx, o.GetDatabase(), o.GetTable())
	if err != nil {
		return nil, err
	}
	if o.GetPrefix() || o.GetSuffix() {
		return s.readMany(ctx, u, req)
	}
	if err := checkKey(req.GetKey()); err != nil {
		return nil, err
	}
	record, left, found, err := s.db.read(ctx, u, req.GetKey())
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errors.New(codes.NotFound, "not found")
	}
	r, err := toRecord(req.GetKey(), record, left)
	if err != nil {
		return nil, err
	}
	return &storepb.ReadResponse{Records: []*storepb.Record{r}}, nil
}

func (s *Service) readMany(ctx context.Context, u unit, req *storepb.ReadRequest) (*storepb.ReadResponse, error) {
	o := req.GetOptions()
	l := listing{limit: o.GetLimit(), offset: o.GetOffset(), order: o.GetOrder(), after: o.GetAfter(), records: true}
	if o.GetPrefix() {
		l.prefix = req.GetKey()
	}
	if o.GetSuffix() {
		l.suffix = req.GetKey()
	}
	rsp, bytes := &storepb.ReadResponse{}, 0
	err := s.walk(ctx, u, l, func(rows []row) error {
		for _, x := range rows {
			if bytes += len(x.key) + len(x.record) + aroundRecord; bytes > maxAnswer {
				return errors.New(codes.ResourceExhausted, "these records have more than %d MiB: read them in parts, with limit and after (or offset)", maxAnswer>>20)
			}
			r, err := toRecord(x.key, x.record, x.left)
			if err != nil {
				return err
			}
			rsp.Records = append(rsp.Records, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rsp, nil
}

// Write implements Store.
func (s *Service) Write(ctx context.Context, req *storepb.WriteRequest) (*storepb.WriteResponse, error) {
	o := req.GetOptions()
	u, err := s.unit(ctx, o.GetDatabase(), o.GetTable())
	if err != nil {
		return nil, err
	}
	if req.GetRecord() == nil {
		return nil, invalid("no record specified")
	}
	l, err := s.limits(ctx, u.namespace)
	if err != nil {
		return nil, err
	}
	c, err := l.toWrite(req.GetRecord())
	if err != nil {
		return nil, err
	}
	if c.condition, err = checkCondition(o.GetIfAbsent(), o.GetIfVersion()); err != nil {
		return nil, err
	}
	out, err := s.apply(ctx, u, l, []change{c})
	if err != nil {
		return nil, err
	}
	if err := l.failure(u, c, out[0]); err != nil {
		return nil, err
	}
	return &storepb.WriteResponse{Version: out[0].version}, nil
}

// Delete implements Store.
func (s *Service) Delete(ctx context.Context, req *storepb.DeleteRequest) (*storepb.DeleteResponse, error) {
	o := req.GetOptions()
	u, err := s.unit(ctx, o.GetDatabase(), o.GetTable())
	if err != nil {
		return nil, err
	}
	c := change{key: req.GetKey(), delete: true}
	if err := checkKey(c.key); err != nil {
		return nil, err
	}
	if c.condition, err = checkCondition(false, o.GetIfVersion()); err != nil {
		return nil, err
	}
	l, err := s.limits(ctx, u.namespace)
	if err != nil {
		return nil, err
	}
	out, err := s.apply(ctx, u, l, []change{c})
	if err != nil {
		return nil, err
	}
	if err := l.failure(u, c, out[0]); err != nil {
		return nil, err
	}
	return &storepb.DeleteResponse{Deleted: out[0].result == "done"}, nil
}

// Batch implements Store.
func (s *Service) Batch(ctx context.Context, req *storepb.BatchRequest) (*storepb.BatchResponse, error) {
	u, err := s.unit(ctx, req.GetDatabase(), req.GetTable())
	if err != nil {
		return nil, err
	}
	if n := len(req.GetChanges()); n == 0 || n > maxChanges {
		return nil, invalid("a batch has 1 to %d changes, got %d", maxChanges, n)
	}
	l, err := s.limits(ctx, u.namespace)
	if err != nil {
		return nil, err
	}
	changes := make([]change, len(req.GetChanges()))
	for i, m := range req.GetChanges() {
		if changes[i], err = l.toChange(m); err != nil {
			return nil, inChange(i, err)
		}
	}
	out, err := s.apply(ctx, u, l, changes)
	if err != nil {
		return nil, err
	}
	rsp := &storepb.BatchResponse{}
	for i, o := range out {
		r := &storepb.ChangeResult{Code: 200, Version: o.version}
		if e := errors.FromError(l.failure(u, changes[i], o)); e != nil {
			r.Code, r.Detail = e.HTTP, e.Detail
		}
		rsp.Results = append(rsp.Results, r)
	}
	return rsp, nil
}

// inChange says which change of a batch an error is about.
func inChange(i int, err error) error {
	var e *errors.Error
	if !errors.As(err, &e) {
		return err
	}
	out := *e
	out.Detail = fmt.Sprintf("changes[%d]: %s", i, e.Detail)
	return &out
}

// List implements Store.
func (s *Service) List(req *storepb.ListRequest, stream storepb.Store_ListServer) error {
	o := req.GetOptions()
	u, err := s.unit(stream.Context(), o.GetDatabase(), o.GetTable())
	if err != nil {
		return err
	}
	sent := false
	l := listing{prefix: o.GetPrefix(), suffix: o.GetSuffix(), limit: o.GetLimit(), offset: o.GetOffset(), order: o.GetOrder(), after: o.GetAfter()}
	err = s.walk(stream.Context(), u, l, func(rows []row) error {
		keys := make([]string, len(rows))
		for i, x := range rows {
			keys[i] = x.key
		}
		sent = true
		return stream.Send(&storepb.ListResponse{Keys: keys})
	})
	if err != nil || sent {
		return err
	}
	return stream.Send(&storepb.ListResponse{}) // existing clients wait for one
}

// Databases implements Store.
func (s *Service) Databases(ctx context.Context, _ *storepb.DatabasesRequest) (*storepb.DatabasesResponse, error) {
	ns, err := identity.Admin(ctx, "")
	if err != nil {
		return nil, err
	}
	all, err := s.db.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	if c, _ := identity.From(ctx); !c.Operator() && !c.IsComponent() {
		all = slices.DeleteFunc(all, func(other string) bool { return other != ns })
	}
	return &storepb.DatabasesResponse{Databases: all}, nil
}

// Tables implements Store.
func (s *Service) Tables(ctx context.Context, req *storepb.TablesRequest) (*storepb.TablesResponse, error) {
	u, err := s.unit(ctx, req.GetDatabase(), "")
	if err != nil {
		return nil, err
	}
	tables, err := s.db.tables(ctx, u.namespace)
	if err != nil {
		return nil, err
	}
	rsp := &storepb.TablesResponse{}
	for t, have := range tables {
		if t.table != "" {
			rsp.Details = append(rsp.Details, &storepb.Table{Name: t.table, Keys: have.keys, Bytes: have.bytes})
		}
	}
	slices.SortFunc(rsp.Details, func(a, b *storepb.Table) int { return strings.Compare(a.GetName(), b.GetName()) })
	for _, t := range rsp.GetDetails() {
		rsp.Tables = append(rsp.Tables, t.GetName())
	}
	return rsp, nil
}

// DropTable implements Store.
func (s *Service) DropTable(ctx context.Context, req *storepb.DropTableRequest) (*storepb.DropTableResponse, error) {
	u, err := s.unit(ctx, req.GetDatabase(), req.GetTable())
	if err != nil {
		return nil, err
	}
	if req.GetTable() == "" {
		return nil, invalid("table: name the one to drop")
	}
	if err := s.db.drop(ctx, u); err != nil {
		return nil, err
	}
	s.usage.Forget(u.namespace)
	return &storepb.DropTableResponse{}, nil
}

// Usage implements Store.
func (s *Service) Usage(ctx context.Context, req *storepb.UsageRequest) (*storepb.UsageResponse, error) {
	u, err := s.unit(ctx, req.GetDatabase(), "")
	if err != nil {
		return nil, err
	}
	l, err := s.limits(ctx, u.namespace)
	if err != nil {
		return nil, err
	}
	space, err := s.usage.Get(ctx, u.namespace, freshness)
	if err != nil {
		return nil, err
	}
	tables, _ := space.known(u)
	records, blobs := space.sums()
	rsp := &storepb.UsageResponse{Limits: []*storepb.Limit{
		{Name: "keys", Used: records.keys, Allowed: l.records.keys},
		{Name: "bytes", Used: records.bytes, Allowed: l.records.bytes},
		{Name: "tables", Used: int64(tables), Allowed: int64(s.opts.MaxTables)},
		{Name: "blobs", Used: blobs.keys, Allowed: l.blobs.keys},
		{Name: "blob_bytes", Used: blobs.bytes, Allowed: l.blobs.bytes},
	}}
	if l.together != math.MaxInt64 {
		rsp.Limits = append(rsp.Limits, &storepb.Limit{Name: "store_bytes", Used: records.bytes + blobs.bytes, Allowed: l.together})
	}
	return rsp, nil
}

// apply makes changes within the limits, and the table if there is none.
func (s *Service) apply(ctx context.Context, u unit, l limits, changes []change) ([]outcome, error) {
	for {
		space, err := s.usage.Get(ctx, u.namespace, freshness)
		if err != nil {
			return nil, err
		}
		out, have, found, err := s.db.apply(ctx, u, space.allowed(u, l), changes)
		if err != nil {
			return nil, err
		}
		if found {
			space.set(u, have)
			return out, nil
		}
		if out := untouched(changes); out != nil {
			return out, nil
		}
		if n, known := space.known(u); !known && n >= s.opts.MaxTables && u.table != "" {
			return nil, errors.New(codes.ResourceExhausted, "limit tables: namespace %s may have %d tables: drop one", u.namespace, s.opts.MaxTables)
		}
		if err := s.db.create(ctx, u, rand.Text()); err != nil {
			return nil, err
		}
	}
}

// untouched answers what becomes of deletions in a table that does not exist;
// nil when there is something to write.
func untouched(changes []change) []outcome {
	out := make([]outcome, len(changes))
	for i, c := range changes {
		if !c.delete {
			return nil
		}
		out[i].result = "missing"
		if c.condition != "" {
			out[i].result = "condition"
		}
	}
	return out
}
