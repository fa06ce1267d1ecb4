package usage

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/tenants"
	builderpb "github.com/micro/platform/proto/builder"
	eventspb "github.com/micro/platform/proto/events"
	namespacespb "github.com/micro/platform/proto/namespaces"
	schedulerpb "github.com/micro/platform/proto/scheduler"
	storepb "github.com/micro/platform/proto/store"
	usagepb "github.com/micro/platform/proto/usage"
)

// Options come from MICRO_USAGE_*.
type Options struct {
	Budget       int64         `env:"BUDGET"        default:"10000" help:"what a namespace may cost in a month unless it says otherwise, in the smallest unit of its plan's currency: its owner gets a mail at 80 and at 100 percent; 0 is no budget"`
	MaxBudgets   int           `env:"MAX_BUDGETS"   default:"100"   help:"budgets that a namespace may set"`
	Sample       time.Duration `env:"SAMPLE"        default:"15s"   help:"how often containers, builds and egress are counted"`
	SampleStored time.Duration `env:"SAMPLE_STORED" default:"5m"    help:"how often it is asked how much is stored"`
	KeepDetails  int           `env:"KEEP_DETAILS"  default:"90"    help:"days for which endpoints and members are kept apart"`
	KeepDays     int           `env:"KEEP_DAYS"     default:"731"   help:"days for which the sums of a day are kept"`
}

// Sealed is what is sealed with the cluster secret.
func Sealed() []seal.Column { return []seal.Column{mail.Sealed("usage")} }

// Component runs the service, alone or beside the others.
var Component = app.New("usage", func(ctx context.Context, h *app.Host, o Options) error {
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	conn, err := h.Conn("namespaces")
	if err != nil {
		return err
	}
	from, err := dial(h)
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	out, err := h.Outbox(pool)
	if err != nil {
		return err
	}
	svc := New(pool, conn, out, h.Log, o)
	limits, err := tenants.Open(h, svc.keeper.mark)
	if err != nil {
		return err
	}
	svc.Follow(limits)
	svc.parts = from
	svc.Register(s)
	h.Go("budgets", svc.keeper.run)
	h.Go("sample", svc.sampleLoop)
	return h.Serve(s)
})

// parts are the components whose meters are read.
type parts struct {
	scheduler schedulerpb.SchedulerClient
	builder   builderpb.BuilderClient
	store     storepb.ComponentsClient
	events    eventspb.ComponentsClient
}

func dial(h *app.Host) (p parts, err error) {
	for name, made := range map[string]func(grpc.ClientConnInterface){
		"scheduler": func(c grpc.ClientConnInterface) { p.scheduler = schedulerpb.NewSchedulerClient(c) },
		"builder":   func(c grpc.ClientConnInterface) { p.builder = builderpb.NewBuilderClient(c) },
		"store":     func(c grpc.ClientConnInterface) { p.store = storepb.NewComponentsClient(c) },
		"events":    func(c grpc.ClientConnInterface) { p.events = eventspb.NewComponentsClient(c) },
	} {
		conn, err := h.Conn(name)
		if err != nil {
			return p, err
		}
		made(conn)
	}
	return p, nil
}

// Service implements the Usage and Components RPCs.
type Service struct {
	usagepb.UnsafeUsageServer
	usagepb.UnsafeComponentsServer

	db     db
	log    *slog.Logger
	opts   Options
	keeper *keeper
	parts  parts // set before the first sample
	now    func() time.Time
}

// New makes a Service that reads plans from namespaces, and holds back there
// what has spent its budget. out takes its mail.
func New(pool *pgxpool.Pool, namespaces grpc.ClientConnInterface, out *mail.Outbox, log *slog.Logger, o Options) *Service {
	d := db{pool}
	return &Service{db: d, log: log, opts: o, now: time.Now, keeper: &keeper{
		db: d, log: log, mail: out, standard: o.Budget, now: time.Now, due: map[string]bool{},
		plans:    namespacespb.NewPlansClient(namespaces),
		owners:   namespacespb.NewNamespacesClient(namespaces),
		throttle: namespacespb.NewComponentsClient(namespaces),
	}}
}

// Follow says where the limits of plans come from. It comes before the first call.
func (s *Service) Follow(t *tenants.Tenants) { s.keeper.tenants = t }

// Register serves the APIs on s.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	usagepb.RegisterUsageServer(r, s)
	usagepb.RegisterBudgetsServer(r, budgets{Service: s})
	usagepb.RegisterComponentsServer(r, s)
}

// maxRows bounds an answer of Read.
const maxRows = 10_000

// Read implements Usage.
func (s *Service) Read(ctx context.Context, req *usagepb.ReadRequest) (*usagepb.ReadResponse, error) {
	namespace, err := identity.Member(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	p, err := parsePeriod(req.GetFrom(), req.GetTo(), s.now())
	if err != nil {
		return nil, err
	}
	by, err := parseGroups(req.GetBy())
	if err != nil {
		return nil, err
	}
	rows, err := s.db.read(ctx, namespace, query{period: p, by: by, service: req.GetService()})
	if err != nil {
		return nil, err
	}
	if len(rows) > maxRows {
		return nil, invalid("more than %d rows: ask for fewer days, group by less, or use the export", maxRows)
	}
	asOf, err := s.db.foldedAt(ctx)
	if err != nil {
		return nil, err
	}
	out := &usagepb.ReadResponse{From: day(p.from), To: day(p.to), Total: &usagepb.Row{}, AsOf: asOf.UnixMilli()}
	var total amounts
	for _, r := range rows {
		out.Rows = append(out.Rows, r.proto())
		total.add(r.amounts)
	}
	out.Total = row{amounts: total}.proto()
	return out, nil
}

// page is how many rows Export reads at once.
const page = 1000

// Export implements Usage.
func (s *Service) Export(req *usagepb.ExportRequest, out usagepb.Usage_ExportServer) error {
	ctx := out.Context()
	namespace, err := identity.Member(ctx, req.GetNamespace())
	if err != nil {
		return err
	}
	p, err := parsePeriod(req.GetFrom(), req.GetTo(), s.now())
	if err != nil {
		return err
	}
	for after := (key{Day: p.from}); ; {
		rows, err := s.db.page(ctx, namespace, p, after, page)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := out.Send(r.proto()); err != nil {
				return err
			}
		}
		if len(rows) < page {
			return nil
		}
		after = rows[len(rows)-1].key
	}
}
