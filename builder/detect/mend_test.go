package detect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMend(t *testing.T) {
	t.Parallel()
	const old = "# github.com/quic-go/quic-go/internal/qtls\nqtls/go121.go:5:13: cannot use \"The version\""
	for _, tt := range []struct {
		name, mod, reason, note, require string
		plan, want                       Plan
	}{
		{"code", "module x\n", "main.go:3: undefined: y", "", "", Plan{Vendor: true}, Plan{Vendor: true}},
		{"incomplete", "module x\n", "main.go:4:2: missing go.sum entry for module providing package z", "go mod tidy", "", Plan{}, Plan{Resolve: true}},
		{"completed and still incomplete", "module x\n", "missing go.sum entry", "", "", Plan{Resolve: true}, Plan{Resolve: true}},
		{"vendor is stale", "module x\n", "go: inconsistent vendoring in /src:", "go mod tidy", "", Plan{Vendor: true}, Plan{Resolve: true}},
		{"stale", "module x\n\nrequire github.com/micro/micro/v3 v3.19.0\n", old, "taking v0.43.1", "github.com/quic-go/quic-go v0.43.1", Plan{}, Plan{Resolve: true}},
		{"stale by name", "module x\n\nrequire github.com/quic-go/quic-go v0.35.0 // indirect\n", old, "taking v0.43.1", "github.com/quic-go/quic-go v0.43.1", Plan{}, Plan{Resolve: true}},
		{"as new as can be", "module x\n\nrequire github.com/quic-go/quic-go v0.50.0\n", old, "", "v0.50.0", Plan{}, Plan{}},
		{"linkname", "module x\n", "link: golang.org/x/net/internal/socket: invalid reference to syscall.recvmsg", "linking", "", Plan{}, Plan{OldLinks: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			name := filepath.Join(root, "go.mod")
			if err := os.WriteFile(name, []byte(tt.mod), 0o400); err != nil {
				t.Fatal(err)
			}
			got, note, err := Mend(root, tt.plan, tt.reason)
			if err != nil || got != tt.want || !strings.Contains(note, tt.note) || note == "" != (tt.note == "") {
				t.Errorf("Mend = %+v, %q, %v", got, note, err)
			}
			mod, err := os.ReadFile(name)
			if err != nil || !strings.Contains(string(mod), tt.require) {
				t.Errorf("go.mod is %s (%v)", mod, err)
			}
		})
	}
}
