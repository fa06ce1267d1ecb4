package restore

import (
	"context"

	"github.com/micro/platform/internal/archive"
	"github.com/micro/platform/internal/rules"
	authpb "github.com/micro/platform/proto/auth"
)

func access(r archive.Rule) authpb.Access {
	if r.Access == "denied" {
		return authpb.Access_DENIED
	}
	return authpb.Access_GRANTED
}

// same says whether a rule of the archive is one that there is.
func same(r archive.Rule, other *authpb.Rule) bool {
	return r.Scope == other.GetScope() && access(r) == other.GetAccess() && r.Priority == other.GetPriority() &&
		r.Type == other.GetResource().GetType() && r.Name == other.GetResource().GetName() && r.Endpoint == other.GetResource().GetEndpoint()
}

// restoreRules makes the rules of the archive. The default rule goes, if the
// archive has others without it: it goes last, so that less is allowed meanwhile,
// not more.
func (i *Import) restoreRules(ctx context.Context) error {
	api, o := authpb.NewRulesClient(i.conn), &authpb.Options{Namespace: i.o.Namespace}
	rsp, err := api.List(ctx, &authpb.ListRequest{Options: o})
	if err != nil {
		return err
	}
	have := map[string]*authpb.Rule{}
	for _, r := range rsp.GetRules() {
		have[r.GetId()] = r
	}
	standard := false
	for _, r := range i.a.rules {
		standard = standard || r.ID == rules.DefaultID
		if old := have[r.ID]; old != nil {
			if same(r, old) {
				continue
			}
			if _, err := api.Delete(ctx, &authpb.DeleteRequest{Id: r.ID, Options: o}); err != nil {
				return err
			}
		}
		_, err := api.Create(ctx, &authpb.CreateRequest{Options: o, Rule: &authpb.Rule{
			Id: r.ID, Scope: r.Scope, Access: access(r), Priority: r.Priority,
			Resource: &authpb.Resource{Type: r.Type, Name: r.Name, Endpoint: r.Endpoint},
		}})
		if err != nil {
			return err
		}
	}
	if standard || have[rules.DefaultID] == nil || len(i.a.rules) == 0 {
		return nil
	}
	_, err = api.Delete(ctx, &authpb.DeleteRequest{Id: rules.DefaultID, Options: o})
	return err
}
