package dockerhost

import (
	"slices"
	"testing"

	"github.com/docker/docker/api/types/system"
)

func TestRuntimesOf(t *testing.T) {
	t.Parallel()
	runtime := func(path, kind string, args ...string) system.RuntimeWithStatus {
		r := system.RuntimeWithStatus{}
		r.Path, r.Type, r.Args = path, kind, args
		return r
	}
	r := RuntimesOf(system.Info{DefaultRuntime: "b", Runtimes: map[string]system.RuntimeWithStatus{
		"runc": runtime("runc", ""), "runsc-mine": runtime("/opt/wrapper", ""),
		"runsc": runtime("/opt/x", "", "--host-uds=open"), "b": runtime("/usr/bin/runsc", ""), "c": runtime("", "io.containerd.runsc.v1"),
	}})
	if want := []Runtime{{"b", false}, {"c", false}, {"runsc", true}}; !slices.Equal(r.GVisor, want) || !r.DefaultIsGVisor() {
		t.Errorf("%+v, want %v", r, want)
	}
}

func TestNameservers(t *testing.T) {
	t.Parallel()
	got := nameservers([]byte("# nameserver 1.1.1.1\nsearch corp\nnameserver 127.0.0.53\nnameserver\nnameserver 10.0.0.2 # ours\nnameserver nonsense\nnameserver fd00::2\n"))
	if len(got) != 2 || got[0].String() != "10.0.0.2" || got[1].String() != "fd00::2" {
		t.Error(got)
	}
}
