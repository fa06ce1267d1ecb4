package images

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sirupsen/logrus"
	"gocloud.dev/blob"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/bucket"
	"github.com/micro/platform/internal/certs"
	"github.com/micro/platform/internal/seal"
)

// Options come from MICRO_IMAGES_*.
type Options struct {
	Sweep time.Duration `env:"SWEEP" default:"1h"  help:"how often what no image needs any more is removed"`
	Age   time.Duration `env:"AGE"   default:"24h" help:"how long it stays: longer than any push takes"`
}

// Component runs the registry, apart only: one host has Docker's own store.
var Component = app.New("images", func(ctx context.Context, h *app.Host, o Options) error {
	pool, err := h.DB(ctx)
	if err != nil {
		return err
	}
	b, err := h.Bucket(ctx)
	if err != nil {
		return err
	}
	uploads, err := seal.MACKey(ctx, pool, h.Platform.Secrets(), h.Name, "micro images uploads")
	if err != nil {
		return err
	}
	svc := New(ctx, pool, Store{Bucket: b, Dir: h.BucketDir()}, uploads, o)
	svc.log = h.Log
	h.Lead("sweep", "images sweep", pool, svc.sweepLoop)
	return h.ServeHTTPS(svc)
})

// prepare sets what the embedded server has for the whole process: its list of
// drivers, and its log, which is silent: it says as an error what clients ask
// for in vain. What fails here is logged by ServeHTTP.
var prepare = sync.OnceFunc(func() {
	factory.Register(driverName, drivers{})
	logrus.SetLevel(logrus.PanicLevel)
})

// Store is the platform's bucket.
type Store struct {
	Bucket *blob.Bucket
	// Dir is where the bucket is in the file system, "" if it is elsewhere.
	Dir string
}

// folder is what the registry has of the bucket.
const folder = "images/"

// root is where the embedded server keeps its files, below folder.
const root = "docker/registry/v2/"

// Service serves the registry.
type Service struct {
	db       db
	store    Store // what is below folder
	registry http.Handler
	log      *slog.Logger
	opts     Options
	now      func() time.Time
}

// Sealed is what is sealed with the cluster secret.
func Sealed() []seal.Column { return []seal.Column{seal.MACKeys("images")} }

// New makes a Service. Key uploads signs their states, which any instance may go
// on with.
func New(ctx context.Context, pool *pgxpool.Pool, s Store, uploads []byte, o Options) *Service {
	prepare()
	s.Bucket = blob.PrefixedBucket(s.Bucket, folder)
	if s.Dir != "" {
		s.Dir = filepath.Join(s.Dir, folder)
	}
	config := &configuration.Configuration{
		Storage: configuration.Storage{
			driverName:    {"bucket": s.Bucket},
			"delete":      {"enabled": true},
			"redirect":    {"disable": true},
			"maintenance": {"uploadpurging": map[any]any{"enabled": false}}, // sweep does that
		},
		Catalog: configuration.Catalog{MaxEntries: 1000},
		Tags:    configuration.Tags{MaxTags: 1000},
	}
	config.HTTP.Secret = string(uploads)
	config.HTTP.RelativeURLs = true
	return &Service{db: db{pool}, store: s, registry: handlers.NewApp(ctx, config), log: slog.Default(), opts: o, now: time.Now}
}

// ServeHTTP implements http.Handler: the registry for those who may, with what a
// sweep must not come in between of.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !may(certs.Shown(r), r) {
		http.Error(w, "this component has no business here", http.StatusForbidden)
		return
	}
	rec := &recorder{ResponseWriter: w}
	s.serve(rec, r)
	if rec.status >= http.StatusInternalServerError {
		s.log.Warn("a request for images failed", "method", r.Method, "path", r.URL.Path, "status", rec.status)
	}
}

// may says who may do what: builders everything, a host may get what it knows
// the digest of.
func may(component string, r *http.Request) bool {
	switch component {
	case "builder":
		return true
	case "host":
		return pulls(r)
	}
	return false
}

// pulls says whether a request gets an image, or a part of one, by its digest.
func pulls(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if r.URL.Path == "/v2/" {
		return true
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	return ok && (strings.Contains(name, "/manifests/sha256:") || strings.Contains(name, "/blobs/sha256:"))
}

func (s *Service) serve(w http.ResponseWriter, r *http.Request) {
	if namespace, ok := strings.CutPrefix(r.URL.Path, "/namespaces/"); ok && r.Method == http.MethodDelete {
		s.erase(w, r, namespace)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.registry.ServeHTTP(w, r)
		return
	case http.MethodPatch: // nothing is there before the PUT that ends an upload
		s.change(w, r)
		return
	}
	if err := s.db.with(r.Context(), lockShared, func(func() error) { s.change(w, r) }); err != nil {
		s.busy(w, err)
	}
}

// change lets a request change a repository, with a note for sweeps before and
// after: one that has begun in between looks again.
func (s *Service) change(w http.ResponseWriter, r *http.Request) {
	repository := repositoryOf(r.URL.Path)
	if err := s.db.change(r.Context(), repository); err != nil {
		s.busy(w, err)
		return
	}
	s.registry.ServeHTTP(w, r)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerTimeout)
	defer cancel()
	if err := s.db.change(ctx, repository); err != nil {
		s.log.Warn("a change of images was not noted", "error", err)
	}
}

func (s *Service) busy(w http.ResponseWriter, err error) {
	s.log.Warn("images cannot be changed now", "error", err)
	http.Error(w, "the registry is busy, try again", http.StatusServiceUnavailable)
}

// repositoryOf is the repository that a path of the registry's API is about.
func repositoryOf(path string) string {
	name := strings.TrimPrefix(path, "/v2/")
	if i := max(strings.LastIndex(name, "/blobs/"), strings.LastIndex(name, "/manifests/")); i >= 0 {
		name = name[:i]
	}
	return name
}

// erasePage is how many objects one request erases.
const erasePage = 500

// erase removes a part of a namespace's repositories: 204 says that nothing is
// left. What only they needed is swept later.
func (s *Service) erase(w http.ResponseWriter, r *http.Request, namespace string) {
	if namespace == "" || strings.ContainsAny(namespace, "/.") {
		http.Error(w, "the path ends in the folder of a namespace", http.StatusBadRequest)
		return
	}
	f := bucket.Folder{Bucket: s.store.Bucket, Dir: s.store.Dir, Name: root + "repositories/" + namespace + "/"}
	done, err := f.Erase(r.Context(), erasePage)
	if err == nil && done {
		err = s.db.forget(r.Context(), namespace)
	}
	switch {
	case err != nil:
		s.log.Warn("images of a namespace cannot be erased now", "error", err)
		http.Error(w, "the registry is busy, try again", http.StatusServiceUnavailable)
	case done:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

// recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets what reads from the bucket go to the client by the shortest way.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
