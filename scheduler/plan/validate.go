package plan

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/micro/platform/framework/errors"
)

// What a deployment may have at most. Docker keeps it all in the swarm's log,
// whose entries are bounded.
const (
	maxNameLength = 128
	maxInstances  = 50
	maxEntries    = 512
	maxHostLabels = 16
	maxText       = 256 << 10 // bytes of environment, command and arguments together
)

var (
	imageID = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	// A repository's first part has no dot and no colon: then it would be a host.
	imageDigest = regexp.MustCompile(`^[a-z0-9]+((__|-+)[a-z0-9]+)*/[a-z0-9]+((__|-+)[a-z0-9]+)*@sha256:[0-9a-f]{64}$`)
	hostLabel   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	envKey      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]{0,127}$`)
)

// refuse is InvalidArgument; the server adds where it came from.
func refuse(format string, args ...any) error { return errors.BadRequest("", format, args...) }

func validate(d Deployment) error {
	if err := d.ID.Check(); err != nil {
		return err
	}
	if !imageID.MatchString(d.Image) && !imageDigest.MatchString(d.Image) {
		return refuse(`image must be an ID, "sha256:" and 64 hexadecimal digits, or "namespace/service@" and that`)
	}
	if err := CheckInstances(d.Instances); err != nil {
		return err
	}
	if err := validateHosts(d.Hosts); err != nil {
		return err
	}
	return validateTexts(d)
}

// validateHosts keeps to what Swarm takes in a constraint.
func validateHosts(hosts map[string]string) error {
	if len(hosts) > maxHostLabels {
		return refuse("hosts has %d entries, at most %d are allowed", len(hosts), maxHostLabels)
	}
	for k, v := range hosts {
		if !hostLabel.MatchString(k) || !hostLabel.MatchString(v) {
			return refuse("hosts: %q and what it must be have 1 to 63 letters, digits, dots, underscores and hyphens, a letter or digit first", errors.Clip(k))
		}
	}
	return nil
}

// CheckInstances says whether a deployment may have that many containers.
func CheckInstances(n int) error {
	if n < 1 || n > maxInstances {
		return refuse("instances must be 1 to %d, not %d", maxInstances, n)
	}
	return nil
}

func validateTexts(d Deployment) error {
	size := 0
	for field, list := range map[string][]string{"env": d.Env, "command": d.Command, "args": d.Args} {
		if len(list) > maxEntries {
			return refuse("%s has %d entries, at most %d are allowed", field, len(list), maxEntries)
		}
		for i, s := range list {
			size += len(s)
			if strings.ContainsRune(s, 0) || !utf8.ValidString(s) {
				return refuse("%s[%d] must be UTF-8 without NUL", field, i)
			}
		}
	}
	if size > maxText {
		return refuse("env, command and args have %d bytes, at most %d are allowed", size, maxText)
	}
	for i, e := range d.Env {
		if k, _, ok := strings.Cut(e, "="); !ok || !envKey.MatchString(k) {
			return refuse("env[%d] must be KEY=value, KEY made of letters, digits and underscores", i)
		}
	}
	return nil
}

// Check says what is wrong with an ID.
func (id ID) Check() error {
	for field, s := range map[string]string{"namespace": id.Namespace, "service": id.Service, "version": id.Version} {
		if s == "" || len(s) > maxNameLength || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return refuse("id.%s must have 1 to %d characters and no control characters", field, maxNameLength)
		}
	}
	if id.Revision < 1 {
		return refuse("id.revision must be 1 or more")
	}
	return nil
}
