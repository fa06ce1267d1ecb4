package runtime

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// TestRollbackWithoutImage: a revision whose image is gone is built again for a
// rollback, and one whose uploaded source is gone, too, is refused at once.
func TestRollbackWithoutImage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, source string
		uploadGone   bool
		refused      string
	}{
		{"git", "github.com/acme/hello", false, ""},
		{"upload", "source://hello:latest", false, ""},
		{"upload that is gone", "source://hello:latest", true, "the image of revision 1 is gone, and so is the source that was uploaded for it: deploy it again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.reconcile()
			if _, err := b.upload(b.admin, "hello", "source"); err != nil {
				t.Fatal(err)
			}
			b.create("hello", tt.source)
			b.settled("hello", running)
			first, err := b.svc.db.revision(t.Context(), key{"acme", "hello", "latest"}, 1)
			if err != nil {
				t.Fatal(err)
			}
			b.update("hello", "github.com/acme/other")
			b.settled("hello", running)
			b.world.change(func() { delete(b.world.builds, "acme/hello/latest/1") })
			if tt.uploadGone {
				if err := b.bucket.Delete(t.Context(), first.Upload); err != nil {
					t.Fatal(err)
				}
			}
			_, err = b.rollback("hello", 1)
			if tt.refused != "" {
				if errors.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), tt.refused) {
					t.Errorf("Rollback = %v, want %q", err, tt.refused)
				}
				b.settled("hello", running)
				b.alone(2)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			b.settled("hello", running)
			b.alone(3)
			again, err := b.svc.db.revision(t.Context(), key{"acme", "hello", "latest"}, 3)
			if err != nil || again.Upload != first.Upload || again.Image == "" {
				t.Errorf("it has upload %q and image %q, %v", again.Upload, again.Image, err)
			}
		})
	}
}
