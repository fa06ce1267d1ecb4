package multihost

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// opsOf is where a component tells operators of its host, or of its container, how
// it is: host and the edges, which are not among control and share nothing, at 8100.
func opsOf(component string) string {
	return fmt.Sprintf("127.0.0.1:%d", 8100+1+slices.Index(control, component))
}

// goroutines answers how many each process of the platform has, by its name and
// host.
func (s *Site) goroutines(ctx context.Context) (map[string]int, error) {
	return s.gauges(ctx, "go_goroutines", slices.Concat([]string{"host"}, control, edges)...)
}

// gauges answers a gauge of each process of these components.
func (s *Site) gauges(ctx context.Context, gauge string, components ...string) (map[string]int, error) {
	all := map[string]int{}
	for _, n := range s.Rig.Nodes {
		for _, component := range components {
			var in []string
			if slices.Contains(edges, component) {
				pid, err := n.edgePID(ctx, component)
				if err != nil {
					return nil, err
				}
				in = []string{"nsenter", "--target", pid, "--net"}
			} else if s.Unit(component, n) == nil {
				continue
			}
			value, err := n.gauge(ctx, gauge, opsOf(component), in...)
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", component, n.Name, err)
			}
			all[component+" on "+n.Name] = value
		}
	}
	return all, nil
}

// gauge asks a process of the host for it, by way of a program that goes where it is.
func (n *Node) gauge(ctx context.Context, gauge, at string, in ...string) (int, error) {
	out, err := n.Command(ctx, append(in, "curl", "-sS", "--max-time", "5", "http://"+at+"/metrics")...).Output()
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^` + gauge + `(?:\{.*\})? (\d+)`).FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("it has no %s", gauge)
	}
	return strconv.Atoi(string(found[1]))
}
