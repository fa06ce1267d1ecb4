package usage

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	usagepb "github.com/micro/platform/proto/usage"
)

// Component runs the service, alone or beside the others.
var Component = app.New("usage", func(ctx context.Context, h *app.Host, _ struct{}) error {
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	svc := New(pool, h.Log)
	usagepb.RegisterUsageServer(s, svc)
	usagepb.RegisterComponentsServer(s, svc)
	return h.Serve(s)
})

// Service implements the Usage and Components RPCs.
type Service struct {
	usagepb.UnsafeUsageServer
	usagepb.UnsafeComponentsServer

	db  db
	log *slog.Logger
	now func() time.Time
}

// New makes a Service.
func New(pool *pgxpool.Pool, log *slog.Logger) *Service {
	return &Service{db: db{pool}, log: log, now: time.Now}
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
