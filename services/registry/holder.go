package registry

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// holder is whose a node is.
type holder struct {
	account string
	// deployed is the service that the account was made for, by the name that it
	// was deployed under; "" for people and their programs. Edges send the calls
	// and the tokens of a name to its nodes, so no service takes another's name,
	// but the code of one may call itself by one that nobody has: Micro v4 goes by
	// the code only.
	deployed string
}

// deployedAs answers the service whose nodes a caller registers. The platform
// registers by the name of the deployment.
func deployedAs(caller identity.Caller, req *registrypb.Service) string {
	switch {
	case caller.Deployed():
		return caller.Metadata["service"]
	case caller.IsComponent():
		return req.GetName()
	}
	return ""
}

func nameTaken(r registration, by string) error {
	return errors.New(codes.PermissionDenied, "service %q was deployed as %q and cannot register as %q, which %s: name it %q in its code, or deploy it under another name",
		r.deployed, r.deployed, r.Service, by, r.deployed)
}

// checkUndeployed refuses a deployed service that calls itself by the name of
// another, which may not be up yet.
func (s *Service) checkUndeployed(ctx context.Context, r registration) error {
	if r.deployed == "" || r.deployed == r.Service {
		return nil
	}
	rsp, err := s.runtime.Read(identity.AsComponent(ctx), &runtimepb.ReadRequest{Options: &runtimepb.ReadOptions{Namespace: r.Namespace, Service: r.Service}})
	if err != nil {
		return errors.New(codes.Unavailable, "whether another service is called %q could not be found out, try again", r.Service).Because(err)
	}
	if len(rsp.GetServices()) > 0 {
		return nameTaken(r, "is another service of the namespace")
	}
	return nil
}
