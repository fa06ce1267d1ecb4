package image

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/identity"
)

// What Options.GVisor may be.
const (
	GVisorStrangers = "strangers" // where Docker has it; builds of untrusted namespaces fail without it
	GVisorRequire   = "require"   // all tenants' do
	GVisorAuto      = "auto"      // nobody's do
	GVisorOff       = "off"
)

// Sandbox is what build containers run in.
type Sandbox struct {
	Host    string // the name of Docker's host
	Runtime string // of Docker's
	GVisor  bool
	// Problem says why it is not gVisor, for operators.
	Problem string
}

// Sandbox asks Docker what build containers run in.
func (b *Builder) Sandbox(ctx context.Context) (Sandbox, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	info, err := b.engine.Info(ctx)
	if err != nil {
		return Sandbox{}, fmt.Errorf("ask Docker for its runtimes: %w", err)
	}
	s := choose(dockerhost.RuntimesOf(info), b.opts.Runtime, b.opts.GVisor)
	s.Host = info.Name
	return s, nil
}

// choose takes a runtime by name or, if there is none, gVisor that lets a build
// reach the socket of its module proxy.
func choose(has dockerhost.Runtimes, name, policy string) Sandbox {
	s := Sandbox{Runtime: name}
	if usable := slices.IndexFunc(has.GVisor, func(r dockerhost.Runtime) bool { return r.Sockets }); name == "" && usable >= 0 && policy != GVisorOff {
		s.Runtime = has.GVisor[usable].Name
	}
	if s.Runtime == "" {
		s.Runtime = has.Default
	}
	s.GVisor = slices.ContainsFunc(has.GVisor, func(r dockerhost.Runtime) bool { return r.Name == s.Runtime })
	switch {
	case s.GVisor:
	case len(has.GVisor) == 0:
		s.Problem = "Docker has no runtime runsc"
	case name == "" && policy != GVisorOff:
		s.Problem = fmt.Sprintf("Docker's runtime %s lacks --host-uds=open in runtimeArgs, which builds need for their modules", has.GVisor[0].Name)
	default:
		s.Problem = "the builder's settings choose another runtime"
	}
	if refuses := map[string]string{GVisorStrangers: "builds of namespaces on other plans than local", GVisorRequire: "tenants' builds"}[policy]; refuses != "" && !s.GVisor {
		s.Problem += ", so " + refuses + " are refused"
	}
	return s
}

// runtime is what a build's container is to run in.
func (b *Builder) runtime(ctx context.Context, namespace string) (string, error) {
	s, err := b.Sandbox(ctx)
	if err != nil || s.GVisor {
		return s.Runtime, err
	}
	required, err := b.required(ctx, namespace)
	if required {
		err = errors.New(codes.FailedPrecondition, "builds run in gVisor only here, and it is not there: tell the operator").
			Because(errors.New(codes.Internal, "%s: make it a runtime of Docker's (docs/isolation.md), or set MICRO_BUILDER_GVISOR=auto", s.Problem))
	}
	return s.Runtime, err
}

// required says whether a namespace's builds need gVisor.
func (b *Builder) required(ctx context.Context, namespace string) (bool, error) {
	switch {
	case namespace == identity.Platform:
		return false, nil
	case b.opts.GVisor == GVisorStrangers:
		return b.opts.Untrusted(ctx, namespace)
	}
	return b.opts.GVisor == GVisorRequire, nil
}
