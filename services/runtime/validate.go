package runtime

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/reserved"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// Bounds of what a caller may send. The largest request stays well below what
// fits into the start of a process.
const (
	maxSource    = 1024
	maxInstances = 10
	maxEnv       = 100      // entries of env and of secrets
	maxEnvBytes  = 64 << 10 // all of them together
	maxArgs      = 64       // entries of command and of args
	maxArgBytes  = 8 << 10
	maxMetadata  = 32
	maxMetaValue = 1024
)

var (
	nameRule    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,62}$`)
	versionRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$`)
	envRule     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	metaRule    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$`)
)

// defaultVersion is meant when a request names none.
const defaultVersion = "latest"

// uploadScheme starts the source of a service that was uploaded.
const uploadScheme = "source://"

// gitCredentials is the one secret that is for the builder, not for the
// process.
const gitCredentials = "GIT_CREDENTIALS"

func invalid(format string, args ...any) error {
	return errors.New(codes.InvalidArgument, format, args...)
}

// checkName answers the name and version that a request means.
func checkName(name, version string) (string, string, error) {
	if name == "" {
		return "", "", invalid("service name is missing")
	}
	if !nameRule.MatchString(name) {
		return "", "", invalid("service name %q: 1 to 63 lower-case letters, digits, dots and hyphens, starting with a letter or digit", errors.Clip(name))
	}
	if version == "" {
		version = defaultVersion
	}
	if !versionRule.MatchString(version) || strings.Contains(version, "..") {
		return "", "", invalid("version %q: 1 to 64 letters, digits, dots, underscores, slashes and hyphens, starting with a letter or digit", errors.Clip(version))
	}
	return name, version, nil
}

// checkFree refuses the names of the platform's own services.
func checkFree(name string) error {
	if reserved.Name(name) {
		return invalid("service name %q belongs to the platform", name)
	}
	return nil
}

// checkResource answers the service in a resource, the only kind that tenants
// may change.
func checkResource(r *runtimepb.Resource) (*runtimepb.Service, error) {
	switch {
	case r.GetService() != nil:
		return r.GetService(), nil
	case r.GetNamespace() != nil, r.GetNetworkpolicy() != nil, r.GetResourcequota() != nil:
		return nil, invalid("only services can be changed: namespaces, network policies and quotas are the platform's")
	}
	return nil, invalid("blank resource")
}

// checkOptions refuses what the platform does not do for tenants, instead of
// leaving it out in silence.
func checkOptions(o *runtimepb.CreateOptions) error {
	switch {
	case o.GetImage() != "":
		return invalid("options.image: ready-made images are not run, give a source")
	case len(o.GetVolumes()) > 0:
		return invalid("options.volumes: services have no volumes, keep data in the store")
	}
	return nil
}

func checkInstances(n int64) (int64, error) {
	if n == 0 {
		return 1, nil
	}
	if n < 1 || n > maxInstances {
		return 0, invalid("options.instances is %d: 1 to %d are possible", n, maxInstances)
	}
	return n, nil
}

// checkSource looks at the form only. Which hosts are good, whether the source
// is there and whether it builds is for the builder to say.
func checkSource(source string) error {
	switch {
	case source == "":
		return invalid("service source is missing: upload one, or name a git repository")
	case len(source) > maxSource:
		return invalid("service source is longer than %d bytes", maxSource)
	case !printable(source) || strings.ContainsAny(source, " \\"):
		return invalid("service source %q has characters that no source has", errors.Clip(source))
	case strings.HasPrefix(source, "-"), strings.HasPrefix(source, "/"), strings.HasPrefix(source, "."):
		return invalid("service source %q is neither an upload nor a git repository: upload local folders first", errors.Clip(source))
	case strings.HasPrefix(source, uploadScheme):
		_, _, err := uploadName(source)
		return err
	case strings.Contains(source, "://") && !strings.HasPrefix(source, "https://") && !strings.HasPrefix(source, "http://"):
		return invalid("service source %q: only https URLs to public hosts are accepted", errors.Clip(source))
	case strings.Contains(source, "@"):
		return invalid("service source %q holds an @: name the git ref in the version, and credentials in the secret %s", errors.Clip(source), gitCredentials)
	}
	return nil
}

// uploadName splits "source://NAME:VERSION".
func uploadName(source string) (name, version string, err error) {
	name, version, _ = strings.Cut(strings.TrimPrefix(source, uploadScheme), ":")
	return checkName(name, version)
}

func checkEntrypoint(folder string) error {
	if folder == "" {
		return nil
	}
	if len(folder) > maxSource || !printable(folder) || strings.HasPrefix(folder, "/") || strings.HasPrefix(folder, "-") || strings.Contains(folder, "\\") ||
		slices.Contains(strings.Split(folder, "/"), "..") {
		return invalid("options.entrypoint %q: a folder below the root of the source", errors.Clip(folder))
	}
	return nil
}

// checkEnv looks at the environment that a service asks for, as KEY=value and
// as secrets.
func checkEnv(env []string, secrets map[string]string) error {
	if len(env)+len(secrets) > maxEnv {
		return invalid("options.env and options.secrets have %d entries, %d are possible", len(env)+len(secrets), maxEnv)
	}
	size := 0
	for _, e := range env {
		key, value, ok := strings.Cut(e, "=")
		if !ok {
			return invalid("options.env: %q is not KEY=value", errors.Clip(key))
		}
		if err := checkVariable("options.env", key, value); err != nil {
			return err
		}
		size += len(e)
	}
	for key, value := range secrets {
		if err := checkVariable("options.secrets", key, value); err != nil {
			return err
		}
		size += len(key) + len(value)
	}
	if size > maxEnvBytes {
		return invalid("options.env and options.secrets have %d bytes, %d are possible", size, maxEnvBytes)
	}
	return nil
}

func checkVariable(field, key, value string) error {
	if !envRule.MatchString(key) {
		return invalid("%s: %q is no name of a variable", field, errors.Clip(key))
	}
	if key == "PORT" || key == "HOME" || key == "USER" || strings.HasPrefix(key, "MICRO_") && key != "MICRO_LOG_LEVEL" {
		return invalid("%s: %s is set by the platform", field, errors.Clip(key))
	}
	if strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
		return invalid("%s: the value of %s is not text", field, key)
	}
	return nil
}

func checkArgs(command, args []string) error {
	if len(command)+len(args) > maxArgs {
		return invalid("options.command and options.args have %d entries, %d are possible", len(command)+len(args), maxArgs)
	}
	size := 0
	for _, a := range slices.Concat(command, args) {
		if strings.ContainsRune(a, 0) || !utf8.ValidString(a) {
			return invalid("options.args: %q is not text", errors.Clip(a))
		}
		size += len(a)
	}
	if size > maxArgBytes {
		return invalid("options.command and options.args have %d bytes, %d are possible", size, maxArgBytes)
	}
	return nil
}

func checkMetadata(m map[string]string) error {
	if len(m) > maxMetadata {
		return invalid("metadata has %d entries, %d are possible", len(m), maxMetadata)
	}
	for k, v := range m {
		if !metaRule.MatchString(k) {
			return invalid("metadata key %q: 1 to 64 letters, digits, dots, underscores, slashes and hyphens", errors.Clip(k))
		}
		if len(v) > maxMetaValue || !printable(v) {
			return invalid("metadata %s: a value has at most %d bytes of text in one line", errors.Clip(k), maxMetaValue)
		}
	}
	for label, v := range hostsOf(m) {
		if !hostRule.MatchString(label) || !hostRule.MatchString(v) {
			return invalid("metadata %s%s: a label of a host and its value have 1 to 63 letters, digits, dots, underscores and hyphens, a letter or digit first", hostPrefix, errors.Clip(label))
		}
	}
	return nil
}

// hostPrefix begins the metadata that says where a service runs: "host.zone" is
// what the label micro.zone of its host must be.
const hostPrefix = "host."

// hostRule is what labels of hosts and their values are made of.
var hostRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)

// hostsOf answers the labels that metadata asks for, by their names without what
// begins them. An empty value asks for nothing.
func hostsOf(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		if label, ok := strings.CutPrefix(k, hostPrefix); ok && v != "" {
			out[label] = v
		}
	}
	return out
}

// printable says whether s is one line of text without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
