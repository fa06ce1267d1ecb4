package image

import (
	"context"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/system"

	"github.com/micro/platform/internal/dockerhost"
	"github.com/micro/platform/internal/identity"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	has := func(args ...string) dockerhost.Runtimes {
		info := system.Info{DefaultRuntime: "runc", Runtimes: map[string]system.RuntimeWithStatus{"runc": {}}}
		if len(args) > 0 {
			r := system.RuntimeWithStatus{}
			r.Path, r.Args = "/usr/local/bin/runsc", args
			info.Runtimes["sandbox"] = r
		}
		return dockerhost.RuntimesOf(info)
	}
	for _, tt := range []struct {
		name         string
		has          dockerhost.Runtimes
		runtime      string
		policy       string
		want         string
		gvisor       bool
		wantsProblem string
	}{
		{"not there", has(), "", GVisorAuto, "runc", false, "no runtime runsc"},
		{"not there for the untrusted", has(), "", GVisorStrangers, "runc", false, "other plans than local are refused"},
		{"not there for tenants", has(), "", GVisorRequire, "runc", false, "tenants' builds are refused"},
		{"there", has("--platform=systrap", "--host-uds=open"), "", GVisorAuto, "sandbox", true, ""},
		{"all sockets", has("-host-uds=all"), "", GVisorRequire, "sandbox", true, ""},
		{"without sockets", has("--host-uds=none"), "", GVisorAuto, "runc", false, "--host-uds=open"},
		{"by name all the same", has("--host-uds=none"), "sandbox", GVisorAuto, "sandbox", true, ""},
		{"off", has("--host-uds=open"), "", GVisorOff, "runc", false, "settings"},
		{"another by name", has("--host-uds=open"), "kata", GVisorAuto, "kata", false, "settings"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := choose(tt.has, tt.runtime, tt.policy)
			if s.Runtime != tt.want || s.GVisor != tt.gvisor || (s.Problem == "") != s.GVisor || !strings.Contains(s.Problem, tt.wantsProblem) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestRequired shows whose builds need gVisor (T2).
func TestRequired(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		policy, namespace string
		want              bool
	}{
		{GVisorStrangers, "untrusted", true},
		{GVisorStrangers, "own", false},
		{GVisorRequire, "own", true},
		{GVisorRequire, identity.Platform, false},
		{GVisorAuto, "untrusted", false},
		{GVisorOff, "untrusted", false},
	} {
		b := New(nil, nil, Options{GVisor: tt.policy, Untrusted: func(_ context.Context, namespace string) (bool, error) { return namespace == "untrusted", nil }})
		if got, err := b.required(t.Context(), tt.namespace); err != nil || got != tt.want {
			t.Errorf("%s, %s: %v, %v, want %v", tt.policy, tt.namespace, got, err, tt.want)
		}
	}
}
