package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/proxy/edge"
)

// requestID is the header of a request's id, both ways.
const requestID = "X-Request-Id"

// observe gives every request an id, logs it, and answers for a panic.
func (g *Gateway) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := edge.RequestID(r.Header.Get(requestID))
		r.Header.Set(requestID, id)
		w.Header().Set(requestID, id)
		seen := g.newWriter(w)
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				g.log.ErrorContext(r.Context(), "panic in a handler", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()), "request_id", id)
				writeError(seen, errors.New(codes.Internal, "internal error").From("go.micro.api"))
			}
			g.edge.Called(strconv.Itoa(seen.status), time.Since(began))
			g.log.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path, "status", seen.status,
				"took", time.Since(began), "request_id", id)
			seen.bound(0)
		}()
		next.ServeHTTP(seen, r)
	})
}

// cors lets pages of any origin call with a token of their own, and answers
// their questions about it. Cookies are another matter: see identify.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		if origin := r.Header.Get("Origin"); origin != "" {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Add("Vary", "Origin")
		}
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Allow-Methods", "POST, PATCH, GET, OPTIONS, PUT, DELETE")
		h.Set("Access-Control-Allow-Headers", "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, Micro-Namespace")
		h.Set("Access-Control-Expose-Headers", requestID+", Micro-Reason, WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy")
		if r.Method == http.MethodOptions {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limit refuses what is larger or stranger than anything that is meant.
func (g *Gateway) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.bound(w, r)
		switch {
		case len(r.RequestURI) > maxURL:
			writeError(w, errors.NewHTTP(http.StatusRequestURITooLong, "URL longer than %d bytes", maxURL).From("go.micro.api"))
		case strings.ContainsFunc(r.URL.Path, noPath) || strings.Contains(r.URL.Path, "/../") || strings.HasSuffix(r.URL.Path, "/.."):
			writeError(w, errors.New(codes.InvalidArgument, "invalid path").From("go.micro.api"))
		case r.ContentLength > g.opts.BodyLimit && !isUpload(r):
			writeError(w, tooLarge(g.opts.BodyLimit))
		case clean(r.URL.Path) != r.URL.Path:
			w.Header().Set("Location", (&url.URL{Path: clean(r.URL.Path), RawQuery: r.URL.RawQuery}).String())
			w.WriteHeader(http.StatusMovedPermanently)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// bound gives a body its time and size. Refusals need it too: the server reads
// what is left of a body.
func (g *Gateway) bound(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		return
	}
	if len(r.TransferEncoding) > 0 {
		// It may have had a length beside its chunks, and a proxy in front may have
		// gone by that: what is behind it is not read as another request.
		w.Header().Set("Connection", "close")
	}
	within := uploadTimeout
	if !isUpload(r) {
		within = bodyTimeout
		r.Body = http.MaxBytesReader(w, r.Body, g.opts.BodyLimit)
	}
	r.Body = newTimed(w, r.Body, within)
}

// noPath says whether a path with this in it is meant to confuse: gRPC cannot
// name a method so.
func noPath(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }

// timed is a body that must be read within a time, so that a client that
// trickles holds nothing. After its end the connection has all the time again,
// for a stream to the client.
type timed struct {
	io.ReadCloser
	conn *http.ResponseController
}

func newTimed(w http.ResponseWriter, body io.ReadCloser, within time.Duration) timed {
	t := timed{body, http.NewResponseController(w)}
	_ = t.conn.SetReadDeadline(time.Now().Add(within)) // a server's connection takes it
	return t
}

// Read implements io.Reader. After another error the deadline stays: the server
// reads what is left of a body before it answers.
func (t timed) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err == io.EOF {
		_ = t.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// identify finds the token and the namespace that a request brings. Neither is
// believed yet: the Edge decides.
func (g *Gateway) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isWebSocket(r) {
			protocolHeaders(r)
		}
		if token := cookieToken(r); r.Header.Get("Authorization") == "" && token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		if ns := g.hostNamespace(r.Host); r.Header.Get("Micro-Namespace") == "" && ns != "" {
			r.Header.Set("Micro-Namespace", ns)
		}
		v := &visit{origin: g.origin(r)}
		defer v.end()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
	})
}

// protocolHeaders reads what a page says in subprotocols, since it cannot set a
// WebSocket's headers: "bearer.TOKEN" and "namespace.NAME". They go no further.
func protocolHeaders(r *http.Request) {
	const offer = "Sec-Websocket-Protocol"
	var rest []string
	for p := range strings.SplitSeq(strings.Join(r.Header.Values(offer), ","), ",") {
		p = strings.TrimSpace(p)
		if token, ok := strings.CutPrefix(p, "bearer."); ok {
			setMissing(r.Header, "Authorization", "Bearer "+token)
		} else if ns, ok := strings.CutPrefix(p, "namespace."); ok {
			setMissing(r.Header, "Micro-Namespace", ns)
		} else if p != "" {
			rest = append(rest, p)
		}
	}
	r.Header.Del(offer)
	if len(rest) > 0 {
		r.Header.Set(offer, strings.Join(rest, ", "))
	}
}

func setMissing(h http.Header, key, value string) {
	if h.Get(key) == "" {
		h.Set(key, value)
	}
}

// cookieToken answers the token in the cookie, for requests that a page of ours
// made or that a person typed. A foreign page can make a browser send cookies,
// so its requests do not count as that person's.
func cookieToken(r *http.Request) string {
	c, err := r.Cookie("micro-token")
	if err != nil {
		return ""
	}
	site := r.Header.Get("Sec-Fetch-Site")
	origin, err := url.Parse(r.Header.Get("Origin"))
	ours := site == "same-origin" || site == "none" || site == "" && err == nil && origin.Host == r.Host
	if !ours {
		return ""
	}
	return strings.TrimPrefix(c.Value, "micro-token=")
}

// hostNamespace is "acme" for a request to acme.<domain>.
func (g *Gateway) hostNamespace(host string) string {
	if g.opts.Domain == "" {
		return ""
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ns, ok := strings.CutSuffix(strings.ToLower(host), "."+strings.ToLower(g.opts.Domain))
	if !ok || strings.Contains(ns, ".") {
		return ""
	}
	return ns
}

func (g *Gateway) origin(r *http.Request) rpc.Origin {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return rpc.Origin{}
	}
	return rpc.Origin{Address: g.opts.TrustedProxies.Client(host, r.Header.Values("X-Forwarded-For"))}
}

// requestMetadata is the headers as metadata for the Edge, which drops what is
// not for the callee.
func requestMetadata(r *http.Request) metadata.MD {
	md := make(metadata.MD, len(r.Header)+4)
	for k, values := range r.Header {
		k = strings.ToLower(k)
		if k == "authorization" || k == "micro-namespace" {
			md[k] = values
			continue
		}
		if v := strings.Join(values, ","); validKey(k) && printable(v) {
			md[k] = []string{v}
		}
	}
	delete(md, "content-length")
	delete(md, "timeout") // no effect over HTTP
	md.Set(edge.RequestIDKey, r.Header.Get(requestID))
	md.Set("method", r.Method)
	md.Set("url", r.URL.RequestURI())
	md.Set("x-content-type", "application/json")
	return md
}

// validKey says whether a header's name can be a key of metadata.
func validKey(k string) bool {
	for _, r := range k {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return !strings.HasSuffix(k, "-bin")
}

func printable(v string) bool {
	for i := range len(v) {
		if v[i] < 0x20 || v[i] > 0x7e {
			return false
		}
	}
	return true
}
