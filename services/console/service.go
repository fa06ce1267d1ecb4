package console

import (
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"time"

	"github.com/micro/platform/internal/app"
)

// Options come from MICRO_CONSOLE_*.
type Options struct {
	Address string `env:"ADDRESS" default:"127.0.0.1:8082"        help:"where the console listens"`
	API     string `env:"API"     default:"http://127.0.0.1:8080" help:"address of the API as a browser reaches it"`
}

//go:embed ui
var ui embed.FS

// Component serves the console.
var Component = app.New("console", func(_ context.Context, h *app.Host, o Options) error {
	handler, err := New(o)
	if err != nil {
		return err
	}
	l, err := h.Listen("MICRO_CONSOLE_ADDRESS", o.Address)
	if err != nil {
		return err
	}
	h.ServeHTTP(&http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 75 * time.Second, MaxHeaderBytes: 32 << 10}, l)
	return nil
})

// New makes the handler.
func New(o Options) (http.Handler, error) {
	files, err := fs.Sub(ui, "ui")
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]string{"api": o.API})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /signin", func(w http.ResponseWriter, r *http.Request) { // where providers send browsers back to
		http.ServeFileFS(w, r, files, "index.html")
	})
	mux.HandleFunc("GET /config.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(config) //nolint:errcheck // the browser has gone
	})
	return headers(mux, o.API), nil
}

// headers keeps the pages from loading, and from being loaded by, anybody else.
func headers(next http.Handler, api string) http.Handler {
	policy := "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' " + api +
		"; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin")
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		w.Header().Set("Cache-Control", "no-cache") // a new server has new pages
		next.ServeHTTP(w, r)
	})
}
