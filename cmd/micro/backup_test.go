package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/backup"
	"github.com/micro/platform/internal/cli/terminal"
	"github.com/micro/platform/internal/local"
	"github.com/micro/platform/internal/pg"
)

// TestBackupOpensWhatItKeeps shows that no archive is written with a cluster
// secret that would not open it.
func TestBackupOpensWhatItKeeps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	servers, err := local.Start(t.Context(), local.Options{DataDir: filepath.Join(dir, "server"), User: "postgres", RedisServer: "redis-server"}, app.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { servers.Stop(context.Background()) })
	p := servers.Platform
	if err := pg.Migrate(t.Context(), p.PostgresURL.Reveal(), p.Secrets()); err != nil {
		t.Fatal(err)
	}
	public, _, err := backup.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	try := func(file, secret string) error {
		k := &keeper{cli: &cli{Terminal: &terminal.Terminal{Out: new(bytes.Buffer), Err: new(bytes.Buffer)}}, server: server{environ: map[string]string{
			"MICRO_SERVER_DATA_DIR": filepath.Join(dir, "server"), "MICRO_CLUSTER_SECRET": secret,
		}}}
		to, err := backup.To([]string{public}, "")
		if err != nil {
			return err
		}
		return k.backup(t.Context(), file, to)
	}
	file := filepath.Join(dir, "platform.backup")
	if err := try(file, strings.Repeat("another one", 4)); err == nil || !strings.Contains(err.Error(), "MICRO_CLUSTER_SECRET") {
		t.Errorf("backup with another cluster secret: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("there is an archive all the same")
	}
	if err := try(file, ""); err != nil {
		t.Error(err)
	}
}
