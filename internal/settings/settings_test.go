package settings

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type options struct {
	Port  int           `env:"PORT"  default:"80" help:"where it listens"`
	Grace time.Duration `env:"GRACE" default:"1s" help:"time to stop"`
	Shared
}

// Shared has settings of several components.
type Shared struct {
	Key Secret `env:"KEY" help:"what opens it"`
}

func TestLoad(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		want options
	}{
		{"defaults", nil, options{Port: 80, Grace: time.Second}},
		{"set", map[string]string{"MICRO_X_PORT": "81", "MICRO_X_KEY": "k"}, options{Port: 81, Grace: time.Second, Shared: Shared{"k"}}},
		{"empty is not set", map[string]string{"MICRO_X_PORT": ""}, options{Port: 80, Grace: time.Second}},
		{"secret from a file", map[string]string{"MICRO_X_KEY_FILE": file}, options{Port: 80, Grace: time.Second, Shared: Shared{"from a file"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got options
			if err := Load("x", &got, tt.env); err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("Load = %#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestLoadReportsAllThatIsWrong(t *testing.T) {
	t.Parallel()
	var o options
	err := Load("x", &o, map[string]string{"MICRO_X_PORT": "eighty", "MICRO_X_GRACE": "soon"})
	if err == nil || !strings.Contains(err.Error(), "Port") || !strings.Contains(err.Error(), "Grace") {
		t.Errorf("Load = %v, want both fields named", err)
	}
}

// TestTimes shows which may be 0.
func TestTimes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, value, want string }{
		{"EVERY", "0", "MICRO_X_EVERY is 0s, it has to be more than 0"},
		{"EVERY", "-1s", "MICRO_X_EVERY is -1s, it has to be more than 0"},
		{"EVERY", "1ns", ""},
		{"LIMIT", "0", ""},
		{"LIMIT", "-1s", "MICRO_X_LIMIT is -1s, it has to be 0 or more"},
		{"KEEP", "0", ""},
	} {
		var o struct {
			Every time.Duration `env:"EVERY" default:"1s"`
			Limit time.Duration `env:"LIMIT" default:"1m" zero:"ok"`
			Keep  time.Duration `env:"KEEP" default:"0s"`
		}
		err := Load("x", &o, map[string]string{"MICRO_X_" + tt.name: tt.value})
		if got := fmt.Sprint(err); err == nil && tt.want != "" || err != nil && got != tt.want {
			t.Errorf("%s=%s: Load = %v, want %q", tt.name, tt.value, err, tt.want)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	o := options{Shared: Shared{"hunter2"}}
	out := fmt.Sprintf("%v %+v %#v %s", o, o, o.Key, Describe("x", &o))
	if strings.Contains(out, "hunter2") {
		t.Errorf("the secret shows in %s", out)
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	environ := map[string]string{"MICRO_X_PORT": "1", "MICRO_X_PROT": "1", "MICRO_X_KEY_FILE": "f", "HOME": "/"}
	got := Unknown(environ, []string{"MICRO_X_PORT", "MICRO_X_KEY"})
	if diff := cmp.Diff([]string{"MICRO_X_PROT"}, got); diff != "" {
		t.Error(diff)
	}
}
