package auth

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/reserved"
	"github.com/micro/platform/internal/rules"
	authpb "github.com/micro/platform/proto/auth"
)

// Explain implements the RPC.
func (s ruleBook) Explain(ctx context.Context, req *authpb.ExplainRequest) (*authpb.ExplainResponse, error) {
	namespace, err := s.may(ctx, req.GetOptions())
	if err != nil {
		return nil, err
	}
	if err := checkExplained(req); err != nil {
		return nil, err
	}
	x := &explanation{service: req.GetService(), endpoint: req.GetEndpoint(), rsp: &authpb.ExplainResponse{}}
	if req.GetAccount() != "" {
		if err := s.explainAccount(ctx, namespace, req, x); err != nil {
			return nil, err
		}
	}
	if x.failed {
		return x.rsp, nil
	}
	if reserved.Service(req.GetService()) {
		x.platform()
		return x.rsp, nil
	}
	list, err := s.db.listRules(ctx, namespace)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		list = append(list, defaultRule(namespace, s.opts.PublicPlatform))
	}
	x.rules(rules.New(namespace, list))
	return x.rsp, nil
}

func checkExplained(req *authpb.ExplainRequest) error {
	for _, f := range []struct{ name, value string }{{"account", req.GetAccount()}, {"token", req.GetToken()}} {
		if f.value == "" {
			continue
		}
		if err := checkID(f.name, f.value); err != nil {
			return err
		}
	}
	switch {
	case req.GetToken() != "" && req.GetAccount() == "":
		return errors.New(codes.InvalidArgument, "token: name the account that it belongs to, too")
	case req.GetService() == "" || strings.Contains(req.GetService(), "*"):
		return errors.New(codes.InvalidArgument, "service: name one, such as helloworld")
	case req.GetEndpoint() == "" || strings.Contains(req.GetEndpoint(), "*"):
		return errors.New(codes.InvalidArgument, "endpoint: name one, such as Helloworld.Call")
	}
	return nil
}

// explanation is what was found out so far.
type explanation struct {
	service, endpoint string
	caller            *identity.Caller // nil is anonymous
	failed            bool
	rsp               *authpb.ExplainResponse
}

func (x *explanation) check(name string, passed bool, detail string) {
	x.rsp.Checks = append(x.rsp.Checks, &authpb.Check{Name: name, Passed: passed, Detail: detail})
	x.rsp.Allowed, x.rsp.Reason, x.failed = passed, detail, !passed
}

// explainAccount checks the account and the API token that it comes with.
func (s ruleBook) explainAccount(ctx context.Context, namespace string, req *authpb.ExplainRequest, x *explanation) error {
	a, err := s.db.account(ctx, namespace, req.GetAccount())
	switch {
	case err == errNoAccount:
		x.check("account", false, "the namespace has no such account: its tokens are refused, and accounts of other namespaces cannot call here")
		return nil
	case err != nil:
		return err
	}
	x.caller = &identity.Caller{ID: a.ID, Name: a.Name, Type: a.Type, Namespace: a.Namespace, Scopes: a.scopes(), Metadata: a.Metadata}
	text := a.Type + " of the namespace, scopes " + strings.Join(a.Scopes, ", ")
	if len(a.Scopes) == 0 {
		text = a.Type + " of the namespace, without scopes"
	}
	x.check("account", true, text)
	if limits := a.limits(); len(limits) > 0 {
		if x.caller.Grants, err = grants.ParseAll(limits); err != nil {
			return err
		}
		if x.granted("deployer", limits, "it was deployed with an API token, whose grants hold for it"); x.failed {
			return nil
		}
	}
	if req.GetToken() != "" {
		if err := s.explainToken(ctx, req.GetToken(), x); err != nil || x.failed {
			return err
		}
	}
	if role := x.caller.Role(); role != "" {
		what := "what members who are " + string(role) + " may call"
		if x.caller.Deployed() {
			what = "what deployed revisions may call"
		}
		x.check("role", role.May(x.service, x.endpoint), what)
	}
	return nil
}

func (s ruleBook) explainToken(ctx context.Context, idOrName string, x *explanation) error {
	list, err := s.db.listAPITokens(ctx, x.caller.Namespace, x.caller.ID)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(list, func(t apiToken) bool { return t.ID == idOrName || t.Name == idOrName })
	if at < 0 {
		x.check("token", false, "the account has no such API token: it never was, or was revoked")
		return nil
	}
	t := list[at]
	if t.ExpiresAt != nil && !s.now().Before(*t.ExpiresAt) {
		x.check("token", false, "the API token has expired")
		return nil
	}
	if x.caller.Grants, err = grants.ParseAll(t.Grants); err != nil {
		return err
	}
	x.granted("token", t.Grants, "the API token has grants")
	return nil
}

// granted checks the call against the caller's grants.
func (x *explanation) granted(check string, texts []string, what string) {
	passed := grants.Allow(x.caller.Grants, x.service, x.endpoint)
	result := "they allow the call: "
	if !passed {
		result = "they do not allow the call, only "
	}
	x.check(check, passed, what+"; "+result+strings.Join(texts, ", "))
}

// platform says what holds for the platform's own services, which guard
// themselves.
func (x *explanation) platform() {
	switch {
	case x.caller == nil:
		x.check("role", grants.Allow(nil, x.service, x.endpoint), "the platform's own service: without an account only logging in, signing up and the keys are open")
	case x.caller.Role() != "": // checked already
	case x.caller.Admin():
		x.check("role", true, "the platform's own service: the account is an admin of the namespace")
	default:
		x.check("role", grants.Reads(x.service, x.endpoint), "the platform's own service: the account is no admin, so it may read, and change what is its own")
	}
}

// rules asks the rules as an edge does.
func (x *explanation) rules(set *rules.Set) {
	d, steps := set.Explain(x.caller, rules.Resource{Type: "service", Name: x.service, Endpoint: x.endpoint})
	for _, step := range steps {
		x.rsp.Rules = append(x.rsp.Rules, &authpb.RuleCheck{Rule: step.Rule, Decides: step.Decides, Detail: step.Reason})
	}
	x.check("rules", d.Allowed, d.Reason)
}
