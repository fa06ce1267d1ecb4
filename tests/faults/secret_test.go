package faults

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/tests/platform"
)

// TestClusterSecretExchanged exchanges the cluster secret as the operator's guide
// says, under a load of calls: three times all processes start again, one after
// the other, so that those with one secret meet those with the other. Not one call
// fails.
func TestClusterSecretExchanged(t *testing.T) {
	t.Parallel()
	names := []string{"auth", "audit", "registry", "namespaces", "config", "store", "proxy", "gateway"}
	s, d := site(t, platform.Config{Components: names, Twice: names[:len(names)-1]})
	tr := newTraffic(s)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var running sync.WaitGroup
	running.Go(func() { tr.run(ctx) })

	const before, after = pgtest.Secret, "the cluster secret that comes after it"
	restart := func(secret, also string) {
		t.Helper()
		s.Platform.Set("MICRO_CLUSTER_ID", app.Platform{ClusterSecret: before}.ClusterID())
		s.Platform.Set("MICRO_CLUSTER_SECRET", secret)
		s.Platform.Set("MICRO_CLUSTER_SECRET_ALSO", also)
		for _, second := range []string{"", "/2"} {
			for _, name := range names {
				if name += second; s.Platform.Processes()[name] == 0 {
					continue
				}
				s.Platform.Leave(name)
				if err := s.Platform.Again(t.Context(), name); err != nil {
					t.Fatal(err)
				}
			}
		}
		platform.Until(t.Context(), time.Now().Add(minCalm))
	}
	began := time.Now()
	restart(before, after)
	restart(after, before)
	if anew, left := reseal(t, d.Platform, after, before); anew == 0 || left != 0 {
		t.Errorf("%d texts were sealed anew, %d are left", anew, left)
	}
	restart(after, "")
	took := time.Since(began)
	end()
	running.Wait()
	t.Logf("cluster secret exchanged in %v:\n%s", took, tr)
	if failed := tr.failed(); failed > 0 {
		t.Errorf("%d calls failed", failed)
	}
}

// reseal runs micro reseal with two secrets.
func reseal(t *testing.T, p app.Platform, secret, also string) (anew, left int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), micro, "reseal", "-o", "json")
	cmd.Env = append(platform.Clean(os.Environ()), "MICRO_POSTGRES_URL="+p.PostgresURL.Reveal(), "MICRO_DURABLE_REDIS_URL="+p.DurableRedisURL.Reveal(), "MICRO_BUCKET_URL="+p.BucketURL,
		"MICRO_CLUSTER_SECRET="+secret, "MICRO_CLUSTER_SECRET_ALSO="+also, "MICRO_CLUSTER_ID="+p.ClusterID())
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("micro reseal: %v: %s", err, said.String())
	}
	var x struct {
		Left   int `json:"left"`
		Sealed []struct {
			Anew int `json:"anew"`
		} `json:"sealed"`
	}
	if err := json.Unmarshal(out, &x); err != nil {
		t.Fatal(err)
	}
	for _, r := range x.Sealed {
		anew += r.Anew
	}
	return anew, x.Left
}
