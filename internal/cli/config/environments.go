package config

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// PlatformAddress is where the environment "platform" is, until somebody names
// another with micro env add platform ADDRESS.
const PlatformAddress = "proxy.micro.example"

// LocalAddress is where micro server listens.
const LocalAddress = "127.0.0.1:8081"

// Environment is a server that the command line can talk to.
type Environment struct {
	Name         string
	ProxyAddress string
	Description  string
}

// environmentName keeps names apart from the other settings: an environment's
// settings stand under its name.
var environmentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

var reservedNames = []string{"env", "envs", "git", "micro", "namespaces"}

// Current answers the name of the current environment.
func (v Values) Current() string {
	if name := v.Get("env"); name != "" {
		return name
	}
	return "local"
}

// Environments answers all of them by name.
func (v Values) Environments() ([]Environment, error) {
	all := map[string]Environment{"platform": {"platform", PlatformAddress, "The hosted platform"}}
	if text := v.Get("envs"); text != "" {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return nil, fmt.Errorf("the setting \"envs\" is damaged (%w): micro user config delete envs", err)
		}
	}
	all["local"] = Environment{"local", LocalAddress, "The server on this machine"}
	list := make([]Environment, 0, len(all))
	for name, e := range all {
		e.Name = name
		list = append(list, e)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// Environment answers one by its name.
func (v Values) Environment(name string) (Environment, error) {
	all, err := v.Environments()
	if err != nil {
		return Environment{}, err
	}
	for _, e := range all {
		if e.Name == name {
			return e, nil
		}
	}
	return Environment{}, fmt.Errorf("Environment '%s' does not exist: \"micro env\" lists them, \"micro env add %s ADDRESS\" adds it", name, name)
}

// AddEnvironment adds one, or changes its address.
func (v Values) AddEnvironment(e Environment) error {
	if e.Name == "local" {
		return fmt.Errorf("the environment local is always %s: choose another name", LocalAddress)
	}
	if !environmentName.MatchString(e.Name) || slices.Contains(reservedNames, e.Name) {
		return fmt.Errorf("%q cannot be the name of an environment: take letters, digits, - and _", e.Name)
	}
	address, err := CleanAddress(e.ProxyAddress)
	if err != nil {
		return err
	}
	e.ProxyAddress = address
	return v.changeEnvironments(func(all map[string]Environment) { all[e.Name] = e })
}

// RemoveEnvironment removes one that is not in use.
func (v Values) RemoveEnvironment(name string) error {
	if _, err := v.Environment(name); err != nil {
		return err
	}
	switch name {
	case "local", "platform":
		return fmt.Errorf("the environment %s cannot be deleted", name)
	case v.Current():
		return fmt.Errorf("%s is the current environment: switch to another with \"micro env set NAME\" first", name)
	}
	return v.changeEnvironments(func(all map[string]Environment) { delete(all, name) })
}

func (v Values) changeEnvironments(change func(map[string]Environment)) error {
	list, err := v.Environments()
	if err != nil {
		return err
	}
	all := map[string]Environment{}
	for _, e := range list {
		all[e.Name] = e
	}
	change(all)
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return v.Set("envs", string(b))
}

// CleanAddress checks host or host:port, and takes off what people paste.
func CleanAddress(address string) (string, error) {
	a := strings.TrimSuffix(address, "/")
	a = strings.TrimPrefix(strings.TrimPrefix(a, "https://"), "http://")
	host, port := a, "443"
	if strings.Contains(a, ":") {
		var err error
		if host, port, err = net.SplitHostPort(a); err != nil {
			return "", fmt.Errorf("%q is not an address: write host or host:port", address)
		}
	}
	n, err := strconv.Atoi(port)
	if host == "" || strings.ContainsAny(host, "/ @?#\t\r\n") || err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("%q is not an address: write host or host:port", address)
	}
	return a, nil
}
