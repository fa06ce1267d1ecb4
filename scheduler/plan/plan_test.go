package plan

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

var image = "sha256:" + strings.Repeat("a", 64)

func deployment() Deployment {
	return Deployment{
		ID:    ID{Namespace: "demo", Service: "helloworld", Version: "latest", Revision: 3},
		Image: image, Env: []string{"A=1", "PORT=99", "HOME=/root"}, Args: []string{"-v"}, Instances: 2,
	}
}

var config = Config{Cluster: "c1", Edge: "172.17.0.1:8081", Limits: Limits{Memory: 1 << 28, CPUs: 1, Pids: 256, Tmp: 1 << 26}}

func TestNew(t *testing.T) {
	t.Parallel()
	s, err := New(deployment(), config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Name, "micro-c1-demo-helloworld-3-") || !strings.HasPrefix(s.Network, "micro-c1-demo-") {
		t.Errorf("names %s, %s", s.Name, s.Network)
	}
	want := []string{"A=1", "PORT=8080", "MICRO_SERVICE_ADDRESS=:8080", "MICRO_PROXY=172.17.0.1:8081",
		"MICRO_SERVICE_NETWORK=172.17.0.1:8081", "HOME=/home/micro", "USER=micro"}
	if !slices.Equal(s.Env, want) {
		t.Errorf("env %v, want %v", s.Env, want)
	}
	if s.Image != image {
		t.Errorf("image %s", s.Image)
	}
	if id, ok := FromLabels(s.Labels); !ok || id != deployment().ID {
		t.Errorf("labels %v mean %v", s.Labels, id)
	}
}

// TestEgress shows that a service is told of the way out where its network has no
// other, with its own account, and that what it says itself stays.
func TestEgress(t *testing.T) {
	t.Parallel()
	c := config
	c.Edge, c.Egress = "micro-edge:8081", "micro-edge:8083"
	d := deployment()
	d.Env = []string{"MICRO_NAMESPACE=demo", "MICRO_AUTH_ID=web", "MICRO_AUTH_SECRET=a:b@c", "no_proxy=mine"}
	s, err := New(d, c)
	if err != nil {
		t.Fatal(err)
	}
	const way = "http://demo%2Fweb:a%3Ab%40c@micro-edge:8083"
	want := []string{"HTTP_PROXY=" + way, "http_proxy=" + way, "HTTPS_PROXY=" + way, "https_proxy=" + way, "NO_PROXY=micro-edge,localhost,127.0.0.1"}
	if got := s.Env[len(s.Env)-len(want):]; !slices.Equal(got, want) || !slices.Contains(s.Env, "no_proxy=mine") {
		t.Errorf("env %v, want %v at its end", s.Env, want)
	}
	for _, none := range []Config{config, {Cluster: "c1", Edge: c.Edge, Limits: c.Limits}} {
		if s, err := New(d, none); err != nil || slices.ContainsFunc(s.Env, func(e string) bool { return strings.HasPrefix(e, "HTTP") }) {
			t.Errorf("env %v, %v", s.Env, err)
		}
	}
}

// TestPlatformImage is looked for where the hosts find the platform's images.
func TestPlatformImage(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"demo/helloworld@":           "127.0.0.1:5000/demo/helloworld@",
		"my-space/x__0123456789abc@": "127.0.0.1:5000/my-space/x__0123456789abc@",
	} {
		d, c := deployment(), config
		d.Image, c.Images = name+image, "127.0.0.1:5000"
		if s, err := New(d, c); err != nil || s.Image != want+image {
			t.Errorf("%s: %s, %v", d.Image, s.Image, err)
		}
	}
}

// TestHash shows that the same comes to the same, and that nothing can change
// without the hash.
func TestHash(t *testing.T) {
	t.Parallel()
	first, _ := New(deployment(), config)
	again, _ := New(deployment(), config)
	if first.Hash == "" || first.Hash != again.Hash {
		t.Errorf("%s, then %s", first.Hash, again.Hash)
	}
	for name, change := range map[string]func(*Deployment, *Config){
		"image":     func(d *Deployment, _ *Config) { d.Image = "sha256:" + strings.Repeat("b", 64) },
		"env":       func(d *Deployment, _ *Config) { d.Env = []string{"A=2"} },
		"command":   func(d *Deployment, _ *Config) { d.Command = []string{"x"} },
		"args":      func(d *Deployment, _ *Config) { d.Args = nil },
		"instances": func(d *Deployment, _ *Config) { d.Instances = 1 },
		"edge":      func(_ *Deployment, c *Config) { c.Edge = "10.0.0.1:1" },
		"memory":    func(_ *Deployment, c *Config) { c.Limits.Memory++ },
	} {
		d, c := deployment(), config
		change(&d, &c)
		if s, err := New(d, c); err != nil || s.Hash == first.Hash {
			t.Errorf("%s: hash %s, %v", name, s.Hash, err)
		}
	}
}

func TestValidation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*Deployment)
		want   string // in the error
	}{
		{"no namespace", func(d *Deployment) { d.ID.Namespace = "" }, "id.namespace"},
		{"long service", func(d *Deployment) { d.ID.Service = strings.Repeat("x", 129) }, "id.service"},
		{"line break in version", func(d *Deployment) { d.ID.Version = "a\nb" }, "id.version"},
		{"revision 0", func(d *Deployment) { d.ID.Revision = 0 }, "id.revision"},
		{"image by name", func(d *Deployment) { d.Image = "alpine:latest" }, "image"},
		{"image by tag", func(d *Deployment) { d.Image = "demo/web:1" }, "image"},
		{"image elsewhere", func(d *Deployment) { d.Image = "example.com/web@" + image }, "image"},
		{"image without a namespace", func(d *Deployment) { d.Image = "web@" + image }, "image"},
		{"image further below", func(d *Deployment) { d.Image = "demo/web/x@" + image }, "image"},
		{"image beside", func(d *Deployment) { d.Image = "demo/../web@" + image }, "image"},
		{"no instance", func(d *Deployment) { d.Instances = 0 }, "instances"},
		{"many instances", func(d *Deployment) { d.Instances = 51 }, "instances"},
		{"env without =", func(d *Deployment) { d.Env = []string{"A"} }, "env[0]"},
		{"env with a space", func(d *Deployment) { d.Env = []string{"A=1", "B C=1"} }, "env[1]"},
		{"NUL in args", func(d *Deployment) { d.Args = []string{"a\x00"} }, "args[0]"},
		{"not UTF-8", func(d *Deployment) { d.Command = []string{"\xff"} }, "command[0]"},
		{"large env", func(d *Deployment) { d.Env = []string{"A=" + strings.Repeat("x", 1<<20)} }, "bytes"},
		{"host label with an operator", func(d *Deployment) { d.Hosts = map[string]string{"zone==b || a": "a"} }, "hosts"},
		{"host label without a value", func(d *Deployment) { d.Hosts = map[string]string{"zone": ""} }, "hosts"},
		{"many args", func(d *Deployment) { d.Args = make([]string, 513) }, "args has 513"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := deployment()
			tt.change(&d)
			_, err := New(d, config)
			if errors.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, want InvalidArgument with %q", err, tt.want)
			}
		})
	}
}

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// TestNamesHold shows for any ID that names are DNS labels, that they differ
// where IDs differ, and that labels lead back to the ID.
func TestNamesHold(t *testing.T) {
	t.Parallel()
	seen := map[string]ID{}
	parts := []string{"a", "a-b", "b", "a/b", "ä", "A", "-", "x.y", strings.Repeat("long", 20), "a b", "\u200b"}
	r := rand.New(rand.NewPCG(1, 2))
	pick := func() string { return parts[r.IntN(len(parts))] }
	for range 5000 {
		id := ID{pick(), pick(), pick(), int64(1 + r.IntN(3))}
		name, network := Name("c1", id), Network("c1", id.Namespace)
		for _, n := range []string{name, network} {
			if len(n) > 63 || !label.MatchString(n) {
				t.Fatalf("%v: %q is no DNS label", id, n)
			}
		}
		if b := Bridge("c1", id.Namespace); len(b) > 15 {
			t.Fatalf("bridge %q", b)
		}
		if other, ok := seen[name]; ok && other != id {
			t.Fatalf("%v and %v are both %q", id, other, name)
		}
		seen[name] = id
		if back, ok := FromLabels(Labels("c1", id)); !ok || back != id {
			t.Fatalf("%v came back as %v", id, back)
		}
		if Name("c2", id) == name || Network("c2", id.Namespace) == network {
			t.Fatalf("%v has the same name in another cluster", id)
		}
	}
}

func FuzzNew(f *testing.F) {
	f.Add("demo", "web", "latest", "A=1", "arg")
	f.Add("", "\x00", "a/b@c#1", "=", "\xff")
	f.Fuzz(func(t *testing.T, namespace, service, version, env, arg string) {
		s, err := New(Deployment{
			ID: ID{namespace, service, version, 1}, Image: image, Env: []string{env}, Args: []string{arg}, Instances: 1,
		}, config)
		if err != nil {
			if errors.Code(err) != codes.InvalidArgument {
				t.Fatal(err)
			}
			return
		}
		if id, ok := FromLabels(s.Labels); !ok || id != s.ID || !label.MatchString(s.Name) || len(s.Name) > 63 {
			t.Fatal(fmt.Sprint(s))
		}
		count := map[string]int{}
		for _, e := range s.Env {
			if k := key(e); k == "PORT" || strings.HasPrefix(k, "MICRO_PROXY") {
				count[k]++
			}
		}
		if count["PORT"] != 1 || count["MICRO_PROXY"] != 1 {
			t.Fatal(s.Env)
		}
	})
}
