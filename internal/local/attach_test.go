package local

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/platform/internal/app"
)

// TestAttachMakesNothingUp shows that a backup has the cluster secret and the
// bucket of the platform or none, of a server that runs and of one that does not.
func TestAttachMakesNothingUp(t *testing.T) {
	t.Parallel()
	o := options(t)
	running, err := Start(t.Context(), o, app.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	attach := func(p app.Platform) (app.Platform, error) {
		p, stop, err := Attach(t.Context(), o, p)
		if err == nil {
			stop(context.WithoutCancel(t.Context()))
		}
		return p, err
	}
	p, err := attach(app.Platform{})
	if err != nil || p.ClusterSecret != running.Platform.ClusterSecret || p.BucketURL != running.Platform.BucketURL {
		t.Fatalf("Attach = %v, %v, want what the server has, %v", p, err, running.Platform)
	}
	without := func(when string) {
		for file, tt := range map[string]struct {
			named app.Platform
			want  string
		}{
			secretFile: {app.Platform{ClusterSecret: "of the environment"}, "MICRO_CLUSTER_SECRET"},
			bucketDir:  {app.Platform{BucketURL: "file:///elsewhere"}, "MICRO_BUCKET_URL"},
		} {
			path := filepath.Join(o.DataDir, file)
			if err := os.Rename(path, path+".away"); err != nil {
				t.Fatal(err)
			}
			if _, err := attach(app.Platform{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s without %s: %v, want to be asked for %s", when, file, err, tt.want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s: Attach made %s up", when, file)
			}
			if err := os.Rename(path+".away", path); err != nil {
				t.Fatal(err)
			}
			if _, err := attach(tt.named); err != nil {
				t.Errorf("%s with %s of the environment: %v", when, tt.want, err)
			}
		}
	}
	without("running")
	running.Stop(t.Context())
	without("stopped")
}
