package console

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/internal/browsertest"
)

// hostile are texts that become something else where a page takes text for
// markup, for an address or for a script.
var hostile = []string{
	`<img src=x onerror="window.pwned=1;alert(1)">`,
	`"><script>window.pwned=1;alert(1)</script>`,
	`'-alert(1)-'`,
	`javascript:window.pwned=1`,
	`</textarea></pre><svg onload="window.pwned=1">`,
	`{{constructor.constructor('window.pwned=1')()}}`,
	`<iframe srcdoc="<script>parent.pwned=1</script>"></iframe>`,
	`<a href="data:text/html,<script>alert(1)</script>" autofocus onfocus="window.pwned=1">x</a>`,
	"\u202egnp.exe\u0000<base href=//example.com>",
}

// tenant answers every call with a text in the place of all that a tenant may
// choose: names, sources, errors, logs, members, tokens, audit.
func tenant(text string) http.Handler {
	now := time.Now().Unix()
	answers := map[string]any{
		"GET /platform/v1/providers":       map[string]any{"providers": []any{map[string]any{"id": "sso", "title": text}}},
		"POST /platform/v1/tokens":         map[string]any{"token": map[string]any{"access_token": "x", "refresh_token": "y", "expiry": now + 900}},
		"POST /platform/v1/tokens/inspect": map[string]any{"account": map[string]any{"id": text, "issuer": "micro", "scopes": []string{"admin"}}},
		"GET /platform/v1/namespaces":      map[string]any{"memberships": []any{map[string]any{"namespace": text, "role": "owner", "account": text, "current": true}}},
		"GET /platform/v1/services": map[string]any{"services": []any{map[string]any{"name": text, "version": text, "source": text, "status": 7,
			"metadata": map[string]string{"source": text, "revision": text, "error": text, "crashing": text, "started": text}}}},
		"GET /platform/v1/members":                   map[string]any{"members": []any{map[string]any{"account": text + "2", "role": text, "since": now}}},
		"GET /platform/v1/invites":                   map[string]any{"invites": []any{map[string]any{"id": text, "email": text, "role": text, "invited_by": text, "expires": now}}},
		"GET /platform/v1/second-factor":             map[string]any{"required": true},
		"GET /platform/v1/passkeys":                  map[string]any{"passkeys": []any{map[string]any{"id": text, "name": text, "created": now}}},
		"GET /platform/v1/links":                     map[string]any{"links": []any{map[string]any{"id": text, "title": text, "email": text}}},
		"GET /platform/v1/api-tokens":                map[string]any{"tokens": []any{map[string]any{"id": text, "name": text, "account": text, "grants": []string{text}}}},
		"GET /platform/v1/sessions":                  map[string]any{"sessions": []any{map[string]any{"id": text}}},
		"GET /platform/v1/limits":                    map[string]any{"plan": text, "limits": []any{map[string]any{"name": text, "value": 1, "unit": text}}, "suspension": map[string]any{"reason": text}, "throttles": []any{map[string]any{"service": text, "reason": text}}},
		"GET /platform/v1/usage":                     map[string]any{"rows": []any{map[string]any{"service": text, "day": text, "calls": "3"}, map[string]any{"service": text, "day": text}}},
		"GET /platform/v1/budgets":                   map[string]any{"budgets": []any{map[string]any{"service": text, "action": text}}},
		"GET /platform/v1/audit":                     map[string]any{"entries": []any{map[string]any{"account": text, "action": text, "address": text, "outcome": text, "target": map[string]string{text: text}}}},
		"GET /platform/v1/plans":                     map[string]any{"plans": []any{map[string]any{"id": text, "title": text}}},
		"GET /platform/v1/registry/{name}":           map[string]any{"services": []any{map[string]any{"name": text, "endpoints": []any{map[string]any{"name": text}}}}},
		"GET /platform/v1/services/{name}/logs":      map[string]any{"message": text},
		"GET /platform/v1/all-namespaces":            map[string]any{"namespaces": []any{map[string]any{"namespace": text, "owner": text, "plan": text, "suspended": text}}},
		"GET /platform/v1/namespaces/{name}":         map[string]any{"namespace": map[string]any{"id": text, "owner": text}},
		"GET /platform/v1/namespaces/{name}/limits":  map[string]any{"plan": text, "suspension": map[string]any{"reason": text}},
		"GET /platform/v1/namespaces/{name}/members": map[string]any{"members": []any{map[string]any{"account": text, "role": text}}},
	}
	mux := http.NewServeMux()
	for pattern, answer := range answers {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(answer) //nolint:errcheck // the browser has gone
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		json.NewEncoder(w).Encode(map[string]string{"detail": text}) //nolint:errcheck // the browser has gone
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "Content-Type, Authorization")
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
		if r.Method != http.MethodOptions {
			mux.ServeHTTP(w, r)
		}
	})
}

// TestTextOfOthersIsText opens every page with what a tenant could have written:
// no script of theirs runs, and no element of theirs is made. RELIABILITY: S9.
func TestTextOfOthersIsText(t *testing.T) {
	t.Parallel()
	page := browsertest.Open(t)
	for _, text := range hostile {
		api := httptest.NewServer(tenant(text))
		h, err := New(Options{API: api.URL})
		if err != nil {
			t.Fatal(err)
		}
		console := httptest.NewServer(h)
		page.Visit(console.URL)
		page.Fill("id", "jane")
		page.Fill("secret", "a password of hers")
		page.Click("Log in")
		page.Wait(`!document.getElementById("who").hidden`)
		for _, place := range []string{"services", "services/x", "members", "usage", "audit", "security", "admin/x", "device"} {
			page.Eval(`location.hash = "#security"; document.getElementById("main").replaceChildren(); location.hash = ` + quoted(t, "#"+place))
			page.Wait(`document.querySelector("main > *")`)
			if place == "members" { // the text does get there
				page.Wait(`document.querySelector("main").textContent.includes(` + quoted(t, text) + `)`)
			}
			page.Wait(`fetch("/icon.svg").then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))))`)
			made := page.Eval(`[...document.querySelectorAll("body *")].filter((e) => e.matches("script, iframe, base, svg, object, embed, img:not(.brand img), a[href^='javascript:'], a[href^='data:']") || [...e.attributes].some((a) => a.name.startsWith("on"))).length`)
			if made != "0" || page.Eval("String(window.pwned)") != "undefined" || page.Dialogs() != 0 {
				t.Errorf("%s: %q is taken for more than text", place, text)
			}
		}
		console.Close()
		api.Close()
	}
}

// TestHeaders looks at what keeps pages of others out. RELIABILITY: S9, T25.
func TestHeaders(t *testing.T) {
	t.Parallel()
	h, err := New(Options{API: "https://api.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	policy := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %s", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	if c := w.Header().Values("Set-Cookie"); len(c) != 0 {
		t.Errorf("cookies %q: the console needs none, so nobody can forge a request with them", c)
	}
}

func quoted(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
