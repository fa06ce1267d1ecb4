package tests

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	runtimepb "github.com/micro/platform/proto/runtime"
	"github.com/micro/platform/tests/platform"
)

// settle bounds how long something may take that takes moments.
const settle = 60 * time.Second

// TestBadInput shows what people get who do something wrong: over HTTP the
// status and the shape of the contract, at the command line a reason and an exit
// status that is not 0.
func TestBadInput(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, mode.apart, "MICRO_BUILDER_GIT_HOSTS=127.0.0.1:1")
			alice := person(t, p, "alice")
			deploy(t, alice, "Hello ")
			t.Run("http", func(t *testing.T) { badHTTP(t, p, alice) })
			t.Run("sign-up", func(t *testing.T) { badSignup(t, p, alice) })
			t.Run("git", func(t *testing.T) { badGit(t, alice) })
			t.Run("source", func(t *testing.T) { badSource(t, alice) })
			t.Run("archive", func(t *testing.T) { badArchive(t, p, alice) })
			t.Run("name", func(t *testing.T) {
				refuse(t, alice, "nothere", "micro nothere call")
				refuse(t, alice, "not found", "micro call nothere Nothere.Call '{}'")
				refuse(t, alice, "not found", "micro kill nothere")
			})
			expect(t, alice, "Hello Jane", "micro helloworld call --name=Jane")
			expect(t, alice, "", "micro kill helloworld")
		})
	}
}

func badHTTP(t *testing.T, p *platform.Platform, alice *platform.Person) {
	out, err := sh(t.Context(), alice, "micro user token")
	if err != nil {
		t.Fatal(err, out)
	}
	token := strings.TrimSpace(out)
	foreign := token[:strings.LastIndex(token, ".")] + ".AAAA"
	for _, tt := range []struct {
		name, method, path, token, body string
		status                          int
		detail                          string
	}{
		{"good", "POST", "/helloworld/Call", token, `{"name":"Jane"}`, 200, ""},
		{"unknown service", "POST", "/nothere/Call", token, `{}`, 404, "service not found"},
		{"unknown endpoint", "POST", "/helloworld/Nothing", token, `{}`, 404, "Helloworld.Nothing"},
		{"malformed JSON", "POST", "/helloworld/Call", token, `{"name":`, 400, "JSON"},
		{"not an object", "POST", "/helloworld/Call", token, `[1]`, 400, "object"},
		{"wrong field type", "POST", "/helloworld/Call", token, `{"name":{"a":1}}`, 400, "name"},
		{"no token", "POST", "/helloworld/Call", "", `{}`, 404, "calls without a token"},
		{"foreign token", "POST", "/helloworld/Call", foreign, `{}`, 401, "token invalid"},
		{"platform, unknown path", "GET", "/platform/v1/nothing", token, ``, 404, ""},
		{"platform, no token", "GET", "/platform/v1/services", "", ``, 401, ""},
		{"platform, malformed JSON", "POST", "/platform/v1/signup", "", `{"email":`, 400, ""},
		{"platform, wrong type", "POST", "/platform/v1/signup", "", `{"email":1}`, 400, "email"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, "http://"+p.API+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if tt.token != "" {
				req.Header.Set("Authorization", "Bearer "+tt.token)
			}
			rsp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer rsp.Body.Close()
			body, err := io.ReadAll(rsp.Body)
			if err != nil || rsp.StatusCode != tt.status {
				t.Fatalf("%s %s = %d %s (%v), want %d", tt.method, tt.path, rsp.StatusCode, body, err, tt.status)
			}
			if tt.status == http.StatusOK {
				return
			}
			var e errors.Error
			if err := json.Unmarshal(body, &e); err != nil || int(e.HTTP) != tt.status || e.Status != http.StatusText(tt.status) || !strings.Contains(e.Detail, tt.detail) {
				t.Errorf("%s %s = %s, want the four fields with %d and a detail with %q", tt.method, tt.path, body, tt.status, tt.detail)
			}
		})
	}
}

func badSignup(t *testing.T, p *platform.Platform, alice *platform.Person) {
	post := func(path, body string) (int, string) {
		rsp, err := http.Post("http://"+p.API+"/platform/v1/signup"+path, "application/json", strings.NewReader(body)) //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		b, _ := io.ReadAll(rsp.Body)
		return rsp.StatusCode, string(b)
	}
	begin := func(email string) string {
		t.Helper()
		if status, body := post("", fmt.Sprintf(`{"email":%q}`, email)); status != http.StatusOK {
			t.Fatalf("Begin = %d %s", status, body)
		}
		code, err := p.Code(t.Context(), email)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	code := begin("carol@example.com")
	complete := func(code, namespace string) (int, string) {
		return post("/complete", fmt.Sprintf(`{"email":"carol@example.com","code":%q,"password":"correct horse","namespace":%q}`, code, namespace))
	}
	for _, tt := range []struct {
		name, code, namespace string
		status                int
		want                  string
	}{
		{"wrong code", "AAAAAAAA", "carol-space", 400, "not valid or has expired"},
		{"not DNS-safe", code, "Carol_Space", 400, "namespace"},
		{"reserved", code, "micro", 400, "namespace"},
		{"taken", code, "alice-space", 409, "alice-space"},
		{"good", code, "carol-space", 200, "carol-space"},
		{"used code", code, "carol-again", 400, "not valid or has expired"},
	} {
		if status, body := complete(tt.code, tt.namespace); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: Complete = %d %s, want %d with %q", tt.name, status, body, tt.status, tt.want)
		}
	}
	begin("nobody@example.com")
	known, body := post("", `{"email":"carol@example.com"}`) // again, within a minute
	unknown, _ := post("", `{"email":"nobody@example.com"}`)
	if known != http.StatusTooManyRequests || known != unknown {
		t.Errorf("Begin tells a known address (%d %s) from an unknown one (%d)", known, body, unknown)
	}
	refuse(t, alice, "", "micro login --username alice@example.com --password wrong")
}

func badGit(t *testing.T, alice *platform.Person) {
	for _, tt := range []struct{ name, source, want string }{
		{"nobody there", "http://127.0.0.1:1/a/b.git", "127.0.0.1:1"},
		{"not a host that is allowed", "http://127.0.0.1:2/a/b.git", "only https URLs to public hosts"},
		{"a file", "file:///etc", ""},
		{"a command", "ext::sh", ""},
	} {
		t.Run(tt.name, func(t *testing.T) { refuse(t, alice, tt.want, "micro run '"+tt.source+"'") })
	}
}

// badSource deploys programs that are wrong each in its way.
func badSource(t *testing.T, alice *platform.Person) {
	main := func(body string, imports ...string) map[string]string {
		src := "package main\n"
		for _, i := range imports {
			src += fmt.Sprintf("import %q\n", i)
		}
		return map[string]string{"go.mod": "module bad\n\ngo 1.24\n", "main.go": src + "func main() {" + body + "}\n"}
	}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"does not compile", main("nothing()"), "undefined: nothing"},
		{"no main package", map[string]string{"go.mod": "module bad\n\ngo 1.24\n", "a.go": "package a\n"}, "no Go main package"},
		{"no Go at all", map[string]string{"README": "hello"}, "go.mod"},
		{"exits at once", main(`fmt.Println("my last words"); os.Exit(3)`, "fmt", "os"), "my last words"},
		{"never listens", main(`time.Sleep(time.Hour)`, "time"), "listen"},
		{"listens elsewhere on loopback", main(`l, _ := net.Listen("tcp", "127.0.0.1:9999"); for { l.Accept() }`, "net"), "9999"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			name := "bad-" + strings.ReplaceAll(tt.name, " ", "-")[:8]
			dir := filepath.Join(alice.Home, name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			refuse(t, alice, tt.want, "micro run ./"+name)
			if out, err := sh(t.Context(), alice, "micro kill "+name); err != nil && !strings.Contains(out, "not found") {
				t.Errorf("kill: %v: %s", err, out)
			}
		})
	}
}

// badArchive uploads what no command line of ours would send.
func badArchive(t *testing.T, p *platform.Platform, alice *platform.Person) {
	for _, tt := range []struct {
		name   string
		header tar.Header
		want   string
	}{
		{"parent path", tar.Header{Name: "../evil.go", Typeflag: tar.TypeReg}, ".."},
		{"absolute path", tar.Header{Name: "/etc/evil", Typeflag: tar.TypeReg}, "/etc/evil"},
		{"link out of itself", tar.Header{Name: "evil", Typeflag: tar.TypeSymlink, Linkname: "../../etc/passwd"}, "link"},
		{"device", tar.Header{Name: "evil", Typeflag: tar.TypeChar}, "evil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			tt.header.Mode = 0o644
			if err := w.WriteHeader(&tt.header); err != nil {
				t.Fatal(err)
			}
			w.Close()
			name := "evil-" + strings.Fields(tt.name)[0]
			reason, err := deployTar(t, p, alice, name, b.Bytes())
			if err != nil {
				reason = err.Error()
			}
			if !strings.Contains(reason, tt.want) {
				t.Errorf("the reason is %q, want it to have %q", reason, tt.want)
			}
			if _, err := sh(t.Context(), alice, "micro kill "+name); err != nil {
				t.Log(err)
			}
		})
	}
}

// deployTar deploys an archive over the API and answers why it failed.
func deployTar(t *testing.T, p *platform.Platform, x *platform.Person, name string, archive []byte) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	out, err := sh(ctx, x, "micro user token")
	if err != nil {
		t.Fatal(err, out)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+strings.TrimSpace(out))
	conn, err := grpc.NewClient(p.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	up, err := runtimepb.NewSourceClient(conn).Upload(ctx)
	if err != nil {
		return "", err
	}
	svc := &runtimepb.Service{Name: name, Version: "latest"}
	if err := up.Send(&runtimepb.UploadRequest{Service: svc, Data: archive}); err != nil {
		return "", err
	}
	id, err := up.CloseAndRecv()
	if err != nil {
		return "", err
	}
	svc.Source = id.GetId()
	client := runtimepb.NewRuntimeClient(conn)
	if _, err := client.Create(ctx, &runtimepb.CreateRequest{Resource: &runtimepb.Resource{Service: svc}}); err != nil {
		return "", err
	}
	w, err := client.Watch(ctx, &runtimepb.WatchRequest{Service: name, Revision: 1})
	if err != nil {
		return "", err
	}
	last := ""
	for {
		rsp, err := w.Recv()
		if err == io.EOF {
			return last, nil
		}
		if err != nil {
			return "", err
		}
		last = rsp.GetDetail()
	}
}
