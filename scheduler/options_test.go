package scheduler

import (
	"net/netip"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string // in the error; "" is none
	}{
		{"one host", func(*Options) {}, ""},
		{"several hosts", func(o *Options) { o.Networks = overlay }, ""},
		{"other networks", func(o *Options) { o.Networks = "macvlan" }, "MICRO_SCHEDULER_NETWORKS"},
		{"gVisor on several hosts", func(o *Options) { o.Networks, o.GVisor = overlay, require }, ""},
		{"another kernel", func(o *Options) { o.GVisor = "kata" }, "MICRO_SCHEDULER_GVISOR"},
		{"subnets too small", func(o *Options) { o.Subnets = netip.MustParsePrefix("10.0.0.0/27") }, "MICRO_SCHEDULER_SUBNETS"},
		{"no port", func(o *Options) { o.EdgeAddress = "micro-edge" }, "MICRO_SCHEDULER_EDGE_ADDRESS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options()
			o.Memory, o.Firewall, o.GVisor, o.Networks = minMemory, strangers, auto, bridge
			tt.change(&o)
			err := o.check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
