package app

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/micro/platform/internal/settings"
)

// ports are where components listen when they run apart: the numbers that Micro
// has always used, and the next free ones for what Micro did not have.
var ports = map[string]string{
	"registry": "8000", "config": "8001", "store": "8002", "broker": "8003", "events": "8005",
	"auth": "8010", "namespaces": "8011", "builder": "8012", "scheduler": "8013", "network": "8014", "usage": "8015", "audit": "8016", "host": "8017", "images": "8018", "runtime": "8088",
}

// MICRO_<COMPONENT>_ADDRESS is where other processes find a component, and
// MICRO_<COMPONENT>_LISTEN where its own listens.
func addressName(component string) string { return settings.Prefix(component) + "ADDRESS" }
func listenName(component string) string  { return settings.Prefix(component) + "LISTEN" }

func addressSettings(component string, environ map[string]string) []settings.Setting {
	return []settings.Setting{
		{Name: addressName(component), Value: strings.Join(addresses(component, environ), ","), Default: "127.0.0.1:" + ports[component],
			Help: "where other processes find " + component + ": host:port, several with commas between, or a name that stands for several"},
		{Name: listenName(component), Value: environ[listenName(component)],
			Help: "where " + component + " listens as a process of its own; MICRO_" + strings.ToUpper(component) + "_ADDRESS when that is one IP address, else all of the host's at that port"},
	}
}

// addresses are where the instances of a component are found.
func addresses(component string, environ map[string]string) []string {
	var all []string
	for a := range strings.SplitSeq(environ[addressName(component)], ",") {
		if a = strings.TrimSpace(a); a != "" {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return []string{"127.0.0.1:" + ports[component]}
	}
	return all
}

// listenAddress is where a component listens in a process of its own.
func listenAddress(component string, environ map[string]string) (string, error) {
	if a := environ[listenName(component)]; a != "" {
		return a, nil
	}
	all := addresses(component, environ)
	if len(all) == 1 && isIP(all[0]) {
		return all[0], nil
	}
	var at []string
	for _, a := range all {
		_, port, err := net.SplitHostPort(a)
		if err != nil {
			return "", fmt.Errorf("%s: %w", addressName(component), err)
		}
		at = append(at, ":"+port)
	}
	if at = slices.Compact(at); len(at) > 1 {
		return "", fmt.Errorf("%s has several ports: %s has to say on which this instance listens", addressName(component), listenName(component))
	}
	return at[0], nil
}

func isIP(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return net.ParseIP(host) != nil
}

// checkAddresses refuses to speak with other hosts where there are no
// certificates.
func checkAddresses(c Config) error {
	var here []string
	for _, x := range c.Components {
		here = append(here, x.Name)
	}
	for name := range ports {
		is := slices.Contains(here, name)
		switch {
		case is && c.Apart:
			at, err := listenAddress(name, c.Environ)
			if err == nil {
				err = c.checkAddress(listenName(name), at)
			}
			if err != nil {
				return err
			}
		case !is:
			for _, a := range addresses(name, c.Environ) {
				if err := c.checkAddress(addressName(name), a); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c Config) checkAddress(setting, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	if ip := net.ParseIP(host); c.secure() || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s is %s: without certificates components may only be apart on loopback; make some with \"micro certs\" and set MICRO_TLS_DIR", setting, address)
}
