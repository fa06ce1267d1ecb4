package modproxy

import (
	"net/http"
	"strings"
)

// ServeHTTP speaks the protocol of Go's module proxies for the one module. For
// any other it says 404, upon which Go asks the next proxy of GOPROXY.
func (m *Module) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/"+Path+"/@")
	if !ok {
		http.Error(w, "not found: this proxy has "+Path+" only", http.StatusNotFound)
		return
	}
	version := "v/" + m.Version
	switch name {
	case "latest", version + ".info":
		answer(w, "application/json", m.info)
	case "v/list":
		answer(w, "text/plain; charset=utf-8", []byte(m.Version+"\n"))
	case version + ".mod":
		answer(w, "text/plain; charset=utf-8", goMod)
	case version + ".zip":
		answer(w, "application/zip", m.zip)
	default:
		http.Error(w, "not found: this server has "+Path+" "+m.Version+"; micro gen brings a project up to date", http.StatusNotFound)
	}
}

func answer(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Write(body) //nolint:errcheck // the client has gone
}
