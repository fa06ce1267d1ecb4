package faults

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	auditpb "github.com/micro/platform/proto/audit"
	"github.com/micro/platform/tests/platform"
)

// TestRestore is the drill: a backup is made while messages are sent, the server
// and all its data are lost, and another is made of the backup. What was
// acknowledged before the backup began is there, and the audit log is whole.
// (E22)
func TestRestore(t *testing.T) {
	t.Parallel()
	s, err := together(t.Context(), platform.Config{Micro: micro, Dir: shared(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); s.Platform.Stop() })
	dir := t.TempDir()
	archive, key := filepath.Join(dir, "backup"), filepath.Join(dir, "key")
	made := typed(t, "backup", "key")
	if err := os.WriteFile(key, []byte(made), 0o600); err != nil {
		t.Fatal(err)
	}
	public := strings.TrimSpace(made[strings.Index(made, "age1"):strings.Index(made, "\n")])

	sending, stop := context.WithCancel(t.Context())
	defer stop()
	loads, err := s.Loads(t.Context(), "drill")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, l := range loads {
		all.Go(func() { l.Run(sending) })
	}
	platform.Until(sending, time.Now().Add(calm))
	began := time.Now()
	before := map[*Ledger]map[ID]bool{}
	for _, l := range loads {
		for _, ledger := range l.Ledgers {
			before[ledger] = ledger.Acknowledged()
		}
	}
	typed(t, "backup", "--data-dir", filepath.Join(s.Platform.Dir, "server"), "--to", public, archive)
	took := time.Since(began)
	stop()
	all.Wait()
	if err := s.killServer(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.Platform.Dir); err != nil {
		t.Fatal(err)
	}

	began = time.Now()
	verdict := typed(t, "restore", "--verify", "--data-dir", filepath.Join(s.Platform.Dir, "server"), "--key", key, archive)
	if !strings.Contains(verdict, "Keys and ") || !strings.Contains(verdict, "The archive is whole") {
		t.Errorf("micro restore --verify: %s", verdict)
	}
	verified := time.Since(began)
	began = time.Now()
	typed(t, "restore", "--data-dir", filepath.Join(s.Platform.Dir, "server"), "--key", key, archive)
	if err := s.Platform.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("backup in %v, which is what may be lost; verified in %v; restored and serving in %v", took, verified, time.Since(began))
	n, _ := seed(t)
	r := Report{Title: t.Name(), Seed: n, For: calm, Kills: map[string]int{"everything": 1}}
	for ledger, acked := range before {
		ledger.Rewind(acked)
	}
	if r.Rows, err = settle(t.Context(), loads, settleTime); err != nil {
		t.Error(err)
	}
	judge(t, r)
	checkAudit(t, s)
}

// typed runs micro and answers what it printed.
func typed(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), micro, args...)
	cmd.Env = platform.Clean(os.Environ())
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("micro %s: %v: %s", args[0], err, said.String())
	}
	return string(out)
}

func checkAudit(t *testing.T, s *Site) {
	t.Helper()
	token, err := s.accessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := auditpb.NewAuditClient(s.conn).Verify(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token), &auditpb.VerifyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if rsp.GetBroken() != 0 || rsp.GetRows() == 0 {
		t.Errorf("the audit log has %d rows and is broken at %d", rsp.GetRows(), rsp.GetBroken())
	}
}
