package image

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types/system"

	"github.com/micro/platform/internal/dockerhost"
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
