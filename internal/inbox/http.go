package inbox

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"time"
)

//go:embed page.html
var pageText string

// HTTP answers the server that shows the inbox.
func (b *Inbox) HTTP() *http.Server {
	page := template.Must(template.New("page").Parse(pageText))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		// An error here is the reader's connection.
		page.Execute(w, map[string]any{"To": r.URL.Query().Get("to"), "Messages": b.Messages(r.URL.Query().Get("to"))}) //nolint:errcheck // see above
	})
	mux.HandleFunc("GET /messages", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(b.Messages(r.URL.Query().Get("to"))) //nolint:errcheck // the reader's connection
	})
	return &http.Server{
		Handler: guard(mux), MaxHeaderBytes: 16 << 10,
		ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
}

// guard keeps web pages elsewhere from reading the codes: a site may make its
// own name mean loopback, so no name but localhost is answered.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if host != "localhost" && net.ParseIP(host) == nil {
			http.Error(w, "ask for the inbox by localhost or an IP address", http.StatusMisdirectedRequest)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
