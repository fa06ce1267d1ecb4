package settings

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Secret is a setting that never prints. It may come from a file, named by the
// same variable with _FILE at its end.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// GoString hides the secret.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the secret as it is.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = Secret(b)
	return nil
}

// Reveal answers the secret itself.
func (s Secret) Reveal() string { return string(s) }

// A Setting is one line of --print-config.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Help    string `json:"help"`
}

// Environ answers the process's environment as Load takes it.
func Environ() map[string]string { return env.ToMap(os.Environ()) }

// Prefix is what the names of a component's settings start with; the platform's
// own have the component "".
func Prefix(component string) string {
	if component == "" {
		return "MICRO_"
	}
	return "MICRO_" + strings.ToUpper(component) + "_"
}

// Load fills the struct that o points to from the settings of a component. All
// that is wrong is in the error, a line each. Times are more than 0, but for those
// that are 0 by default or have the tag zero:"ok".
func Load(component string, o any, environ map[string]string) error {
	prefix := Prefix(component)
	environ, err := withFiles(prefix, o, environ)
	if err != nil {
		return err
	}
	err = env.ParseWithOptions(o, env.Options{Prefix: prefix, Environment: environ, DefaultValueTagName: "default"})
	var all env.AggregateError
	if errors.As(err, &all) {
		return errors.Join(all.Errors...)
	}
	return errors.Join(err, checkTimes(prefix, o))
}

func checkTimes(prefix string, o any) error {
	var errs []error
	for _, f := range fields(o) {
		d, ok := f.value.Interface().(time.Duration)
		switch {
		case ok && d <= 0 && !f.zero:
			errs = append(errs, fmt.Errorf("%s%s is %v, it has to be more than 0", prefix, f.name, d))
		case ok && d < 0:
			errs = append(errs, fmt.Errorf("%s%s is %v, it has to be 0 or more", prefix, f.name, d))
		}
	}
	return errors.Join(errs...)
}

// withFiles copies the environment, with the secrets that files hold, and
// without empty values: compose files and units cannot leave a name out.
func withFiles(prefix string, o any, environ map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(environ))
	for name, value := range environ {
		if value != "" {
			out[name] = value
		}
	}
	var errs []error
	for _, f := range fields(o) {
		path := out[prefix+f.name+"_FILE"]
		if !f.secret || path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%s_FILE: %w", prefix, f.name, err))
			continue
		}
		out[prefix+f.name] = strings.TrimRight(string(b), "\r\n")
	}
	return out, errors.Join(errs...)
}

// Describe lists the settings of a component with the values in o.
func Describe(component string, o any) []Setting {
	var out []Setting
	for _, f := range fields(o) {
		out = append(out, Setting{Name: Prefix(component) + f.name, Value: fmt.Sprint(f.value.Interface()), Default: f.def, Help: f.help})
	}
	return out
}

// Unknown answers the names in the environment that start with MICRO_ and that
// are not among known.
func Unknown(environ map[string]string, known []string) []string {
	var out []string
	for name := range environ {
		base := strings.TrimSuffix(name, "_FILE")
		if strings.HasPrefix(name, "MICRO_") && !slices.Contains(known, name) && !slices.Contains(known, base) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

type field struct {
	name, def, help string
	secret, zero    bool
	value           reflect.Value
}

func fields(o any) []field {
	v := reflect.Indirect(reflect.ValueOf(o))
	if v.Kind() != reflect.Struct {
		return nil
	}
	var out []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			out = append(out, fields(v.Field(i).Interface())...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		if name == "" {
			continue
		}
		_, secret := v.Field(i).Interface().(Secret)
		def := f.Tag.Get("default")
		zero := f.Tag.Get("zero") == "ok" || def == "" || def == "0s"
		out = append(out, field{name: name, def: def, help: f.Tag.Get("help"), secret: secret, zero: zero, value: v.Field(i)})
	}
	return out
}
