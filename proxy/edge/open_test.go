package edge

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
)

// TestMissedRevocation shows which streams end when auth comes back that was away:
// those of whose revocation it may have told nobody, and knows no more.
func TestMissedRevocation(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old := &identity.Caller{ID: "jane", Namespace: "acme", Issued: now.Add(-2 * time.Hour), Expires: now.Add(-time.Hour)}
	young := &identity.Caller{ID: "jane", Namespace: "acme", Issued: now, Expires: now.Add(time.Hour)}
	for _, tt := range []struct {
		name  string
		call  *openCall
		away  time.Duration
		ended bool
	}{
		{"older than its token, after long", &openCall{caller: old}, 2 * time.Hour, true},
		{"older than its token, after a moment", &openCall{caller: old}, time.Minute, false},
		{"with a token that is good", &openCall{caller: young}, 2 * time.Hour, false},
		{"with an API token", &openCall{caller: old, renewed: true}, 2 * time.Hour, false},
		{"without an account", &openCall{}, 2 * time.Hour, false},
	} {
		ended := false
		x := tt.call
		x.end = func() { ended = true }
		e := &Edge{open: newOpen()}
		e.open.calls["acme"] = map[*openCall]bool{x: true}
		e.missed(tt.away)
		if ended != tt.ended || ended && errors.Code(x.why.Load()) != codes.Unauthenticated {
			t.Errorf("%s: ended %v for %v", tt.name, ended, x.why.Load())
		}
	}
}
