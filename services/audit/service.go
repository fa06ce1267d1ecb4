package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/identity"
	auditpb "github.com/micro/platform/proto/audit"
)

// Options come from MICRO_AUDIT_*.
type Options struct {
	Keep time.Duration `env:"KEEP" default:"0s" help:"how long entries are kept, a day at least; 0 is for ever"`
}

// Component runs the service, alone or beside the others.
var Component = app.New("audit", func(ctx context.Context, h *app.Host, o Options) error {
	if o.Keep != 0 && o.Keep < minKeep {
		return fmt.Errorf("MICRO_AUDIT_KEEP is %s: at least %s, or 0", o.Keep, minKeep)
	}
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	s, err := h.Server()
	if err != nil {
		return err
	}
	svc := New(pool, h.Log, o)
	h.Go("write", svc.Run)
	if o.Keep > 0 {
		h.Go("remove old entries", svc.removeLoop)
	}
	auditpb.RegisterAuditServer(s, svc)
	auditpb.RegisterComponentsServer(s, svc)
	return h.Serve(s)
})

// Service implements the Audit and Components RPCs.
type Service struct {
	auditpb.UnsafeAuditServer
	auditpb.UnsafeComponentsServer

	db     db
	writer *writer
	opts   Options
	log    *slog.Logger
	now    func() time.Time
}

// minKeep is the shortest time for which a log is kept. A call ends within it.
const minKeep = 24 * time.Hour

// New makes a Service. Nothing is written before Run.
func New(pool *pgxpool.Pool, log *slog.Logger, o Options) *Service {
	return &Service{db: db{pool}, writer: newWriter(db{pool}, log), opts: o, log: log, now: time.Now}
}

// Run writes what the others hand over, until ctx ends.
func (s *Service) Run(ctx context.Context) error { return s.writer.run(ctx) }

// Begin implements Components.
func (s *Service) Begin(ctx context.Context, req *auditpb.BeginRequest) (*auditpb.BeginResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	e := req.GetEntry()
	if err := checkEntry(e); err != nil {
		return nil, err
	}
	namespace, err := s.logOf(ctx, e)
	if err != nil {
		return nil, err
	}
	id, err := s.writer.add(ctx, row{
		Namespace: namespace, Account: e.GetAccount(), AccountType: e.GetAccountType(), Operator: e.GetOperator(),
		Session: e.GetSession(), Address: e.GetAddress(), RequestID: e.GetRequestId(), Action: e.GetAction(), Target: e.GetTarget(),
	})
	if err != nil {
		return nil, err
	}
	return &auditpb.BeginResponse{Id: id, Namespace: namespace}, nil
}

// End implements Components.
func (s *Service) End(ctx context.Context, req *auditpb.EndRequest) (*auditpb.EndResponse, error) {
	if err := identity.RequireComponent(ctx); err != nil {
		return nil, err
	}
	if req.GetId() <= 0 || req.GetOutcome() == "" || len(req.GetOutcome()) > maxName {
		return nil, invalid("id and outcome are required")
	}
	// Its caller's answer does not wait for the disk: what a crash cuts off here
	// is an outcome, which is then unknown, and no call.
	if _, err := s.writer.put(ctx, row{Namespace: req.GetNamespace(), Begun: req.GetId(), Outcome: req.GetOutcome()}); err != nil {
		return nil, err
	}
	return &auditpb.EndResponse{}, nil
}

// List implements Audit.
func (s *Service) List(ctx context.Context, req *auditpb.ListRequest) (*auditpb.ListResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if err := checkList(req); err != nil {
		return nil, err
	}
	q := query{namespace: namespace, filter: req.GetFilter(), before: req.GetBefore(), limit: int(req.GetLimit()), latestFirst: true}
	if q.limit == 0 {
		q.limit = defaultLimit
	}
	entries, err := s.db.list(ctx, q)
	if err != nil {
		return nil, err
	}
	return &auditpb.ListResponse{Entries: entries}, nil
}

// Export implements Audit.
func (s *Service) Export(req *auditpb.ExportRequest, out auditpb.Audit_ExportServer) error {
	ctx := out.Context()
	namespace, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return err
	}
	if err := checkFilter(req.GetFilter()); err != nil {
		return err
	}
	for after := int64(0); ; {
		entries, err := s.db.list(ctx, query{namespace: namespace, filter: req.GetFilter(), after: after, limit: page})
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := out.Send(e); err != nil {
				return err
			}
			after = e.GetId()
		}
		if len(entries) < page {
			return nil
		}
	}
}

// Verify implements Audit.
func (s *Service) Verify(ctx context.Context, req *auditpb.VerifyRequest) (*auditpb.VerifyResponse, error) {
	namespace, err := identity.Admin(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	for {
		out, began, err := s.verify(ctx, namespace)
		if err != nil || out.GetBroken() == 0 {
			return out, err
		}
		// It is not broken if old rows have been removed since it was begun.
		if now, _, err := s.db.beginning(ctx, namespace); err != nil || now == began {
			return out, err
		}
	}
}

// verify also answers after which row the chain begins.
func (s *Service) verify(ctx context.Context, namespace string) (out *auditpb.VerifyResponse, began int64, err error) {
	end, err := s.db.end(ctx, namespace)
	if err != nil {
		return nil, 0, err
	}
	began, hash, err := s.db.beginning(ctx, namespace)
	if err != nil {
		return nil, 0, err
	}
	out = &auditpb.VerifyResponse{Rows: began}
	err = s.db.rows(ctx, namespace, func(r row, kept []byte) bool {
		hash = r.hash(hash)
		// Ids count up by one, so a row that was taken out shows too.
		if r.ID != out.Rows+1 || !bytes.Equal(hash, kept) {
			out.Broken = out.Rows + 1
			return false
		}
		out.Rows++
		return true
	})
	if err != nil {
		return nil, 0, err
	}
	if out.Broken == 0 && out.Rows < end {
		out.Broken = out.Rows + 1 // the last ones were taken out
	}
	out.Hash = hex.EncodeToString(hash)
	return out, began, nil
}
