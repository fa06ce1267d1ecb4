package namespaces

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// The states of a row of namespaces.deletions.
const (
	deleting = "deleting"
	erasing  = "erasing"
	erased   = "erased"
)

var states = map[string]namespacespb.State{
	"": namespacespb.State_ACTIVE, deleting: namespacespb.State_DELETING, erasing: namespacespb.State_ERASING, erased: namespacespb.State_ERASED,
}

// warnBefore is how long before the erasure owners are mailed again, unless the
// time to undo is so short that it is half of that.
const warnBefore = 24 * time.Hour

// deletionMailLife is how long a mail about a deletion may be late.
const deletionMailLife = 24 * time.Hour

// Delete implements Namespaces. Asked again it answers what there is.
func (s *Service) Delete(ctx context.Context, req *namespacespb.DeleteNamespaceRequest) (*namespacespb.DeleteNamespaceResponse, error) {
	if req.GetNamespace() == "" {
		return nil, errors.New(codes.InvalidArgument, "namespace: name the one to delete")
	}
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	switch {
	case req.GetConfirm() != req.GetNamespace() || name != req.GetNamespace():
		return nil, errors.New(codes.InvalidArgument, "confirm: the name of the namespace once more, which is %q", name)
	case len(req.GetReason()) > maxReason:
		return nil, errors.New(codes.InvalidArgument, "reason: at most %d bytes", maxReason)
	}
	c, _ := identity.From(ctx)
	d := deletion{Namespace: name, Account: c.ID, Operator: c.Namespace != name, Reason: req.GetReason()}
	made, err := s.db.delete(ctx, d, s.opts.Undo, func(tx pgx.Tx, r *roster, d deletion) error {
		for _, m := range r.owners() {
			if err := s.mails.Put(ctx, tx, deletedMail(m.Account, d), s.now().Add(deletionMailLife)); err != nil {
				return err
			}
		}
		return nil
	}, ownersOnly(ctx, name, "delete"))
	if errors.Is(err, errNone) {
		return nil, noNamespace(name)
	}
	if err != nil {
		return nil, err
	}
	return &namespacespb.DeleteNamespaceResponse{Deletion: made.proto(c.Operator())}, nil
}

// ownersOnly refuses everybody but owners and operators.
func ownersOnly(ctx context.Context, name, what string) func(*roster) error {
	return func(r *roster) error {
		if r.roleOf(ctx) != grants.Owner {
			return errors.New(codes.PermissionDenied, "only owners of namespace %q %s it", name, what).For(identity.RoleMissing)
		}
		return nil
	}
}

// Undelete implements Namespaces. A namespace that is not deleted stays as it is.
func (s *Service) Undelete(ctx context.Context, req *namespacespb.UndeleteNamespaceRequest) (*namespacespb.UndeleteNamespaceResponse, error) {
	name, err := changer(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	err = s.db.undelete(ctx, name, ownersOnly(ctx, name, "undelete"))
	if errors.Is(err, errNone) {
		return nil, noNamespace(name)
	}
	return &namespacespb.UndeleteNamespaceResponse{}, err
}

// GetDeletion implements Namespaces.
func (s *Service) GetDeletion(ctx context.Context, req *namespacespb.GetDeletionRequest) (*namespacespb.GetDeletionResponse, error) {
	name, err := memberOf(ctx, req.GetNamespace())
	if err != nil {
		return nil, err
	}
	_, err = s.db.get(ctx, name)
	there := err == nil
	if err != nil && !errors.Is(err, errNone) {
		return nil, err
	}
	c, _ := identity.From(ctx)
	d, err := s.db.deletion(ctx, name)
	switch {
	case errors.Is(err, errNone) && !there:
		return nil, noNamespace(name)
	case err == nil && there && d.State == erased, errors.Is(err, errNone): // it was another one of this name
		return &namespacespb.GetDeletionResponse{Deletion: &namespacespb.Deletion{Namespace: name}}, nil
	case err != nil:
		return nil, err
	}
	return &namespacespb.GetDeletionResponse{Deletion: d.proto(c.Operator())}, nil
}

// The sizes of a page of what operators list.
const (
	usualPage = 100
	maxPage   = 1000
)

// page answers how many an operator wants on a page.
func page(limit int32) (int, error) {
	switch {
	case limit < 0 || limit > maxPage:
		return 0, errors.New(codes.InvalidArgument, "limit: 1 to %d", maxPage)
	case limit == 0:
		return usualPage, nil
	}
	return int(limit), nil
}

// ListDeletions implements Namespaces.
func (s *Service) ListDeletions(ctx context.Context, req *namespacespb.ListDeletionsRequest) (*namespacespb.ListDeletionsResponse, error) {
	c, err := identity.Require(ctx)
	if err != nil {
		return nil, err
	}
	if !c.Operator() {
		return nil, operatorsOnly()
	}
	limit, err := page(req.GetLimit())
	if err != nil {
		return nil, err
	}
	list, err := s.db.deletions(ctx, req.GetAfter(), limit)
	if err != nil {
		return nil, err
	}
	rsp := &namespacespb.ListDeletionsResponse{}
	for _, d := range list {
		rsp.Deletions = append(rsp.Deletions, d.proto(true))
	}
	return rsp, nil
}

// proto is what callers see, with errors of components if they are operators.
func (d deletion) proto(operator bool) *namespacespb.Deletion {
	out := &namespacespb.Deletion{
		Namespace: d.Namespace, State: states[d.State], Reason: d.Reason, Account: d.Account, Operator: d.Operator,
		Deleted: d.DeletedAt.Unix(), Erase: d.EraseAt.Unix(), Erased: unix(d.ErasedAt), Free: unix(d.FreeAt),
	}
	for _, e := range d.Components {
		x := &namespacespb.Erasure{Component: e.Component, Started: e.StartedAt.Unix(), Calls: e.Calls, Done: unix(e.DoneAt)}
		if operator {
			x.Error = e.Error
		}
		out.Components = append(out.Components, x)
	}
	return out
}

func unix(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}
