package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/settings"
	"github.com/micro/platform/scheduler/firewall"
)

// kinds of Docker objects that a platform makes, in the order in which they can
// be removed, with the commands that list and remove them.
var kinds = []struct {
	name         string
	list, remove []string
}{
	{"service", []string{"service", "ls", "-q"}, []string{"service", "rm"}},
	{"container", []string{"container", "ls", "-aq"}, []string{"container", "rm", "-f"}},
	{"network", []string{"network", "ls", "-q"}, []string{"network", "rm"}},
	{"volume", []string{"volume", "ls", "-q"}, []string{"volume", "rm", "-f"}},
	{"image", []string{"image", "ls", "-q", "--no-trunc"}, []string{"image", "rm", "-f"}},
}

// Remove removes what the platform made in Docker. A stopped platform leaves its
// services running, as it should; this is for one that does not come back.
func (p *Platform) Remove(ctx context.Context) error {
	cluster, err := p.Cluster()
	if errors.Is(err, os.ErrNotExist) {
		return nil // it never started
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, k := range kinds {
		errs = append(errs, remove(ctx, cluster, k.name, k.list, k.remove))
	}
	if os.Geteuid() == 0 { // nobody else has set any
		errs = append(errs, firewall.Remove(ctx, cluster))
	}
	return errors.Join(errs...)
}

// Cluster is what the platform's things in Docker bear as micro.cluster.
func (p *Platform) Cluster() (string, error) {
	secret, err := os.ReadFile(filepath.Join(p.dataDir(), "cluster-secret"))
	if err != nil {
		return "", err
	}
	return app.Platform{ClusterSecret: settings.Secret(strings.TrimSpace(string(secret)))}.ClusterID(), nil
}

// remove tries until they are gone: a network is busy while its last container
// is still leaving.
func remove(ctx context.Context, cluster, kind string, list, remove []string) error {
	for {
		out, err := Docker(ctx, append(slices.Clone(list), "--filter", "label=micro.cluster="+cluster)...)
		if err != nil {
			return err
		}
		made := strings.Fields(out)
		if len(made) == 0 {
			return nil
		}
		_, err = Docker(ctx, append(slices.Clone(remove), made...)...)
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove %s %v: %w", kind, made, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Docker runs a command of Docker's command line.
func Docker(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}
