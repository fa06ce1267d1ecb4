// Package modules is the module proxy of the builds: the framework's module,
// which is published nowhere, from this server, and everything else from the
// Go module proxies upstream. Build containers reach nothing but this.
package modules

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// Own is the module that this server brings itself.
type Own struct {
	Path    string
	Handler http.Handler // speaks the protocol of module proxies
}

// paths are those of the protocol of module proxies and of checksum databases.
var paths = regexp.MustCompile(`^/[a-zA-Z0-9._~!/+@-]+$`)

const timeout = 2 * time.Minute

// New makes a proxy. upstream is in the form of GOPROXY; what is not a URL in
// it, such as "direct", is left out.
func New(own Own, upstream string) (http.Handler, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 30 * time.Second
	transport.MaxConnsPerHost = 32
	transport.RegisterProtocol("file", http.NewFileTransport(http.Dir("/")))
	p := &proxy{own: own, client: &http.Client{Transport: transport, Timeout: timeout}}
	for _, s := range strings.FieldsFunc(upstream, func(r rune) bool { return r == ',' || r == '|' }) {
		if !strings.Contains(s, "://") {
			continue
		}
		u, err := url.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("module proxy %q: %w", s, err)
		}
		p.upstreams = append(p.upstreams, u)
	}
	return p, nil
}

type proxy struct {
	own       Own
	upstreams []*url.URL
	client    *http.Client
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if !paths.MatchString(r.URL.Path) || len(r.URL.Path) > 1024 || path.Clean(r.URL.Path) != r.URL.Path || r.URL.RawQuery != "" {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if p.own.Handler != nil && strings.HasPrefix(r.URL.Path, "/"+p.own.Path+"/@") {
		p.own.Handler.ServeHTTP(w, r)
		return
	}
	p.forward(w, r)
}

// forward asks the upstreams in turn, the next one when one does not have it.
func (p *proxy) forward(w http.ResponseWriter, r *http.Request) {
	status, text := http.StatusNotFound, "not found"
	for _, u := range p.upstreams {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, u.JoinPath(r.URL.Path).String(), nil)
		if err != nil {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		rsp, err := p.client.Do(req)
		if err != nil { // its text may hold the upstream's credentials
			status, text = http.StatusBadGateway, "the module proxy upstream cannot be reached"
			continue
		}
		if rsp.StatusCode == http.StatusNotFound || rsp.StatusCode == http.StatusGone {
			body, _ := io.ReadAll(io.LimitReader(rsp.Body, 4<<10)) //nolint:errcheck // an explanation, as far as it came
			rsp.Body.Close()
			status, text = rsp.StatusCode, strings.TrimSpace(string(body))
			continue
		}
		defer rsp.Body.Close()
		if t := rsp.Header.Get("Content-Type"); t != "" {
			w.Header().Set("Content-Type", t)
		}
		w.WriteHeader(rsp.StatusCode)
		io.Copy(w, rsp.Body) //nolint:errcheck // a short answer fails its reader
		return
	}
	http.Error(w, text, status)
}

// Limit answers a proxy that stops after so many bytes: for one build.
func Limit(proxy http.Handler, bytes int64) http.Handler {
	var left atomic.Int64
	left.Store(bytes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if left.Load() <= 0 {
			http.Error(w, fmt.Sprintf("the modules of this build are larger than %d MiB", bytes>>20), http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(&limited{w, &left}, r)
	})
}

type limited struct {
	http.ResponseWriter
	left *atomic.Int64
}

func (l *limited) Write(b []byte) (int, error) {
	if l.left.Add(-int64(len(b))) < 0 {
		return 0, fmt.Errorf("the modules of this build are too large")
	}
	return l.ResponseWriter.Write(b)
}
