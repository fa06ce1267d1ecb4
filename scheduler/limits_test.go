package scheduler

import (
	"testing"

	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// TestPlanSizesContainers shows that a container has what its plan says (cpu,
// memory, disk), as far as the scheduler gives that much (T6).
func TestPlanSizesContainers(t *testing.T) {
	t.Parallel()
	o := options()
	o.Tmp = 1 << 20
	s := New(nil, "t1", o)
	for _, tt := range []struct {
		name   string
		plan   *schedulerpb.Deployment
		cpus   float64
		memory int64
		tmp    int64
	}{
		{"unlimited", &schedulerpb.Deployment{}, o.CPUs, o.Memory, o.Tmp},
		{"all", &schedulerpb.Deployment{Millicores: 250, Memory: 32 << 20, Disk: 1 << 20}, 0.25, 32 << 20, 1 << 19},
		{"more disk than there is memory for it", &schedulerpb.Deployment{Disk: 1 << 40}, o.CPUs, o.Memory, o.Tmp},
		{"next to nothing", &schedulerpb.Deployment{Millicores: 1, Memory: 1, Disk: 1}, 0.001, minMemory, minTmp},
	} {
		got := s.limits(tt.plan)
		if got.CPUs != tt.cpus || got.Memory != tt.memory || got.Tmp != tt.tmp {
			t.Errorf("%s: %+v, want %v CPUs, %d bytes of memory, %d in each directory", tt.name, got, tt.cpus, tt.memory, tt.tmp)
		}
	}
}
