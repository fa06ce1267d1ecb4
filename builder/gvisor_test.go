package builder

import (
	"testing"

	"github.com/micro/platform/builder/image"
	"github.com/micro/platform/internal/dockertest"
	builderpb "github.com/micro/platform/proto/builder"
)

// TestBuildInGVisor builds where gVisor is required (T2), in a Docker of its own
// that has it: the machine's need not.
func TestBuildInGVisor(t *testing.T) {
	dockertest.GVisor(t)
	b := setup(t, func(o *Options) { o.GVisor = image.GVisorRequire })
	if s, err := b.images.Sandbox(t.Context()); err != nil || !s.GVisor || s.Problem != "" {
		t.Errorf("%+v, %v", s, err)
	}
	if err := b.workers.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.upload(t, "up", hello)
	req := &builderpb.BuildRequest{Id: id("alpha", 1), Source: "source://hello:latest", Upload: "up"}
	if _, err := b.Build(component(t), req); err != nil {
		t.Fatal(err)
	}
	if s := b.await(t, req.GetId()); s.GetPhase() != builderpb.State_SUCCEEDED {
		t.Errorf("%v, log:\n%s", s, b.said(t, req.GetId()))
	}
}
