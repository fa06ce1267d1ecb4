package export

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/archive"
	"github.com/micro/platform/internal/identity"
	auditpb "github.com/micro/platform/proto/audit"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
	usagepb "github.com/micro/platform/proto/usage"
)

// plan writes what the namespace might take.
func (e *exporter) plan(ctx context.Context) error {
	rsp, err := e.Plans.Limits(ctx, &namespacespb.LimitsRequest{Namespace: e.Namespace})
	if err != nil {
		return err
	}
	if err := e.begin(archive.Plan, ""); err != nil {
		return err
	}
	out := archive.Limits{Plan: rsp.GetPlan(), Limits: map[string]int64{}}
	for _, l := range rsp.GetLimits() {
		out.Limits[l.GetName()] = l.GetValue()
	}
	return e.add(out)
}

// people writes the members. The operators' namespace has none.
func (e *exporter) people(ctx context.Context) error {
	if err := e.begin(archive.Members, ""); err != nil || e.Namespace == identity.Platform {
		return err
	}
	rsp, err := e.Members.List(ctx, &namespacespb.ListMembersRequest{Namespace: e.Namespace})
	if err != nil {
		return err
	}
	for _, m := range rsp.GetMembers() {
		if err := e.add(archive.Member{Account: m.GetAccount(), Role: m.GetRole(), Since: seconds(m.GetSince())}); err != nil {
			return err
		}
	}
	return nil
}

// logins writes the accounts, without what they log in with.
func (e *exporter) logins(ctx context.Context) error {
	rsp, err := e.Accounts.List(ctx, &authpb.ListAccountsRequest{Options: &authpb.Options{Namespace: e.Namespace}})
	if err != nil {
		return err
	}
	if err := e.begin(archive.Accounts, ""); err != nil {
		return err
	}
	for _, a := range rsp.GetAccounts() {
		if err := e.add(archive.Account{ID: a.GetId(), Type: a.GetType(), Name: a.GetName(), Scopes: a.GetScopes(), Metadata: a.GetMetadata()}); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) ruleBook(ctx context.Context) error {
	rsp, err := e.Rules.List(ctx, &authpb.ListRequest{Options: &authpb.Options{Namespace: e.Namespace}})
	if err != nil {
		return err
	}
	if err := e.begin(archive.Rules, ""); err != nil {
		return err
	}
	for _, r := range rsp.GetRules() {
		access := "granted"
		if r.GetAccess() == authpb.Access_DENIED {
			access = "denied"
		}
		if err := e.add(archive.Rule{
			ID: r.GetId(), Scope: r.GetScope(), Access: access, Priority: r.GetPriority(),
			Type: r.GetResource().GetType(), Name: r.GetResource().GetName(), Endpoint: r.GetResource().GetEndpoint(),
		}); err != nil {
			return err
		}
	}
	return nil
}

// usageDays is how far back the use goes: what component usage answers at once.
const usageDays = 366

func (e *exporter) used(ctx context.Context) error {
	if err := e.begin(archive.Usage, ""); err != nil {
		return err
	}
	today := e.Now.UTC()
	stream, err := e.Usage.Export(ctx, &usagepb.ExportRequest{
		Namespace: e.Namespace, From: today.AddDate(0, 0, 1-usageDays).Format(time.DateOnly), To: today.Format(time.DateOnly),
	})
	if err != nil {
		return err
	}
	return each(stream, func(r *usagepb.Row) error { return e.add(message{r}) })
}

func (e *exporter) log(ctx context.Context) error {
	if err := e.begin(archive.Audit, ""); err != nil {
		return err
	}
	stream, err := e.Audit.Export(ctx, &auditpb.ExportRequest{Namespace: e.Namespace})
	if err != nil {
		return err
	}
	return each(stream, func(x *auditpb.Entry) error { return e.add(message{x}) })
}

// each hands over the messages of a stream.
func each[T any](stream grpc.ServerStreamingClient[T], f func(*T) error) error {
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(m); err != nil {
			return err
		}
	}
}

// none says whether an answer is that there is nothing.
func none(err error) bool { return errors.Code(err) == codes.NotFound }

func milliseconds(unix int64) time.Time { return time.UnixMilli(unix).UTC() }

func seconds(unix int64) time.Time { return time.Unix(unix, 0).UTC() }
