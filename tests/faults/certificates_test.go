package faults

import (
	"context"
	"crypto/tls"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/tests/platform"
)

// TestCertificatesRotate exchanges every certificate, and then the authority,
// under a load of calls. The first instances run on through all of it; the second
// ones start again after each step, so that all shake hands anew. Not one call
// fails.
func TestCertificatesRotate(t *testing.T) {
	t.Parallel()
	s, _ := site(t, platform.Config{TLS: true, Twice: doubled})
	tr := newTraffic(s)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var running sync.WaitGroup
	running.Go(func() { tr.run(ctx) })
	exchangeCertificates(t, s)
	end()
	running.Wait()
	for _, name := range doubled {
		want := certificate(t, s.Platform.Certificates(), name)
		if got := shown(t, s, name); !slices.Equal(got, want.Certificate[0]) {
			t.Errorf("%s still shows an old certificate", name)
		}
	}
	t.Logf("certificates and authority exchanged:\n%s", tr)
	if failed := tr.failed(); failed > 0 {
		t.Errorf("%d calls failed", failed)
	}
}

// exchangeCertificates issues all certificates anew, has another authority sign,
// and starts the second instances again after each step.
func exchangeCertificates(t *testing.T, s *Site) {
	t.Helper()
	dir := s.Platform.Certificates()
	all, err := certs.Open(dir).List()
	if err != nil {
		t.Fatal(err)
	}
	issue := []string{"issue"}
	for _, c := range all {
		if c.Component != "" { // which is an authority's
			issue = append(issue, c.Component)
		}
	}
	for _, step := range [][]string{issue, {"rotate", "begin"}, {"rotate", "switch"}, issue, {"rotate", "end"}} {
		cmd := exec.CommandContext(t.Context(), micro, append([]string{"certs", "--dir", dir}, step...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("micro certs %v: %v: %s", step, err, out)
		}
		for _, name := range doubled {
			s.Platform.Leave(name + "/2")
			if err := s.Platform.Again(t.Context(), name+"/2"); err != nil {
				t.Fatal(err)
			}
			platform.Until(t.Context(), time.Now().Add(minCalm))
		}
	}
}

func certificate(t *testing.T, dir, component string) tls.Certificate {
	t.Helper()
	f := certs.In(dir, component)
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// shown answers the certificate that a component's first instance shows.
func shown(t *testing.T, s *Site, component string) []byte {
	t.Helper()
	own := certificate(t, s.Platform.Certificates(), "gateway")
	conn, err := tls.Dial("tcp", s.Platform.Listens(component), &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // whose it is comes out
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Raw
}
