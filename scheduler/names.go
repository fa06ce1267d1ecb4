package scheduler

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/micro/platform/internal/dockerhost"
)

// resolvConf answers the file of this host that is a container's
// /etc/resolv.conf, or "" where it is Docker's own. Docker's names its own
// server on the container's loopback, where nobody listens in gVisor: it has a
// loopback of its own.
func (s *Service) resolvConf(ctx context.Context) (string, error) {
	if s.dir == nil {
		return "", nil
	}
	info, err := s.driver.Info(ctx)
	if err != nil || !dockerhost.RuntimesOf(info).DefaultIsGVisor() {
		return "", err
	}
	servers, err := s.resolvers()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, a := range servers {
		fmt.Fprintf(&text, "nameserver %s\n", a)
	}
	dir, err := s.dir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "resolv.conf")
	if is, err := os.ReadFile(path); err == nil && string(is) == text.String() {
		return path, nil
	}
	// Written in place: containers that run have this very file mounted.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, []byte(text.String()), 0o644)
}

// resolvers are the name servers of containers.
func (s *Service) resolvers() ([]netip.Addr, error) {
	if len(s.opts.Resolvers) > 0 {
		return s.opts.Resolvers, nil
	}
	return dockerhost.Resolvers()
}
