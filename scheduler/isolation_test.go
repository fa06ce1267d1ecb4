package scheduler

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// TestContained: one host with gVisor is enough, and none is said at once.
func TestContained(t *testing.T) {
	t.Parallel()
	runc, away := &schedulerpb.Host{Name: "a", Runtime: "runc"}, &schedulerpb.Host{Name: "b"}
	for name, hosts := range map[string][]*schedulerpb.Host{"none": nil, "others": {runc, away}} {
		if err := contained(hosts); errors.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := contained([]*schedulerpb.Host{runc, {Name: "c", Runtime: "runsc", Gvisor: true}}); err != nil {
		t.Error(err)
	}
}
