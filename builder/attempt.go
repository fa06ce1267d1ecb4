package builder

import (
	"context"
	stderrors "errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gocloud.dev/gcerrors"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/builder/detect"
	"github.com/micro/platform/builder/image"
	"github.com/micro/platform/builder/source"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/full"
)

const (
	fetchTime    = 2 * time.Minute
	assembleTime = time.Minute
	maxLog       = 1 << 20
)

// errLost ends an attempt whose build was canceled, or taken over.
var errLost = stderrors.New("the build is no longer this worker's")

// attempt is one try at a build. An *errors.Error ends the build; any other
// error is the platform's, and another try may succeed.
func (w *workers) attempt(ctx context.Context, id image.ID, b build) (s state, err error) {
	if b.Attempt > maxAttempts {
		return s, errors.New(codes.Internal, "the builder was stopped %d times during this build: deploy it again", maxAttempts)
	}
	ctx, lose := context.WithCancelCause(ctx)
	t := &try{workers: w, id: id, build: b, state: &s, log: &log{}}
	done := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() { t.beat(ctx, done, lose) })
	defer func() {
		close(done)
		beating.Wait()
		lose(nil)
	}()
	dir, err := os.MkdirTemp(w.dir, "build-")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { // git and the container are other users
		return s, err
	}
	err = t.perform(ctx, dir)
	if err != nil && context.Cause(ctx) == errLost {
		return s, errLost
	}
	if err != nil {
		t.log.printf("failed while %s: %v\n", s.Step, reason(err))
	}
	return s, err
}

// reason is an error as its user may see it.
func reason(err error) string {
	var told *errors.Error
	switch storage := full.Storage(err); {
	case storage != nil:
		return storage.Detail
	case errors.As(err, &told):
		return told.Detail
	}
	return "interrupted"
}

// try is the attempt under way.
type try struct {
	*workers
	id    image.ID
	build build
	state *state
	log   *log
}

func (t *try) perform(ctx context.Context, dir string) error {
	if err := t.images.RemoveContainers(ctx, t.id); err != nil { // an earlier attempt's
		return err
	}
	if err := t.checkRoom(ctx); err != nil { // it has waited for long enough
		return err
	}
	tree, program := filepath.Join(dir, "source"), filepath.Join(dir, "program")
	if err := t.step(ctx, "fetching the source"); err != nil {
		return err
	}
	folder, err := t.fetch(ctx, tree)
	if err != nil {
		return err
	}
	if err := t.step(ctx, "compiling"); err != nil {
		return err
	}
	goVersion, err := t.images.GoVersion(ctx)
	if err != nil {
		return err
	}
	plan, err := detect.Detect(tree, folder, goVersion)
	if err != nil {
		return err
	}
	if err := t.align(filepath.Join(tree, plan.Module)); err != nil {
		return err
	}
	if err := t.compile(ctx, tree, program, plan); err != nil {
		return err
	}
	if err := t.step(ctx, "making the image"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, assembleTime)
	defer cancel()
	if t.state.Image, err = t.images.Assemble(ctx, t.id, program); err != nil {
		return err
	}
	t.log.printf("image %s\n", t.state.Image)
	return nil
}

// align makes a module use the framework that this server has, since a source
// may name the one of a server of another version.
func (t *try) align(module string) error {
	from, err := t.framework.Align(module)
	if err != nil {
		return errors.New(codes.InvalidArgument, "%s", strings.ReplaceAll(err.Error(), module+"/", "")).Because(err)
	}
	if from != "" && from != t.framework.Version {
		t.log.printf("the framework is %s, the source names %s\n", t.framework.Version, from)
	}
	return nil
}

// mends is how often a source is mended before its build fails.
const mends = 3

// compile compiles a source, and tries again when it failed for its age alone.
func (t *try) compile(ctx context.Context, tree, program string, plan detect.Plan) error {
	work := image.Work{ID: t.id, Slot: t.build.Slot, Source: tree, Program: program, Plan: plan}
	for range mends {
		err := t.images.Compile(ctx, work, t.log)
		var reason *errors.Error
		if !errors.As(err, &reason) {
			return err
		}
		mended, note, mending := detect.Mend(tree, work.Plan, reason.Detail)
		if mending != nil {
			return mending
		}
		if note == "" {
			return err
		}
		t.log.printf("%s\n", note)
		work.Plan = mended
	}
	return t.images.Compile(ctx, work, t.log)
}

func (t *try) step(ctx context.Context, step string) error {
	t.state.Step = step
	t.log.printf("%s\n", step)
	return t.db.step(ctx, t.id, t.build.Attempt, step, t.state.Commit)
}

// fetch brings the source into tree and answers the folder to build.
func (t *try) fetch(ctx context.Context, tree string) (folder string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	if err := os.Mkdir(tree, 0o755); err != nil {
		return "", err
	}
	entrypoint, err := source.CheckFolder(t.build.Entrypoint)
	if err != nil {
		return "", err
	}
	if strings.HasSuffix(entrypoint, ".go") { // some name the file
		entrypoint = path.Dir(entrypoint)
	}
	if t.build.Upload != "" {
		return entrypoint, t.unpack(ctx, tree)
	}
	repo, err := source.Parse(t.build.Source, t.opts.GitHosts)
	if err != nil {
		return "", err
	}
	var credentials []byte
	if len(t.build.Credentials) > 0 {
		if credentials, err = t.box.Open(t.build.Credentials, owner(t.id)); err != nil {
			return "", errors.New(codes.FailedPrecondition, "the git credentials cannot be read any more: deploy again").Because(err)
		}
	}
	git := source.Git{Trusted: t.opts.GitHosts}
	if t.state.Commit, err = git.Fetch(ctx, repo, t.build.Ref, string(credentials), tree); err != nil {
		return "", err
	}
	t.log.printf("commit %s of %s\n", t.state.Commit, repo.URL)
	return path.Join(repo.Folder, entrypoint), nil
}

func (t *try) unpack(ctx context.Context, tree string) error {
	r, err := t.bucket.NewReader(ctx, t.build.Upload, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return errors.New(codes.FailedPrecondition, "the uploaded source is gone: deploy it again")
	}
	if err != nil {
		return fmt.Errorf("open upload: %w", err)
	}
	defer r.Close()
	root, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer root.Close()
	return source.Extract(ctx, r, root, source.DefaultLimits)
}

// beat shows that the attempt is alive and writes its log, until done. It ends
// the attempt when the build is no longer its own.
func (t *try) beat(ctx context.Context, done <-chan struct{}, lose context.CancelCauseFunc) {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for {
		select {
		case <-done:
			flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			t.flush(flush)
			return
		case <-tick.C:
		}
		t.flush(ctx)
		if own, err := t.db.heartbeat(ctx, t.id, t.build.Attempt); err == nil && !own {
			lose(errLost)
		}
	}
}

func (t *try) flush(ctx context.Context) {
	data := t.log.take()
	if len(data) == 0 {
		return
	}
	if err := t.db.appendLog(ctx, t.id, data); err != nil && ctx.Err() == nil {
		t.workers.log.Warn("a piece of a build's log was lost", "error", err)
	}
}

// log collects what a build says between two heartbeats, up to a limit for the
// whole attempt.
type log struct {
	mu   sync.Mutex
	b    []byte
	size int
}

// Write implements io.Writer and never fails.
func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size >= maxLog {
		return len(p), nil
	}
	l.b = append(l.b, p[:min(len(p), maxLog-l.size)]...)
	if l.size += len(p); l.size >= maxLog {
		l.b = append(l.b, "\n... the log is longer than 1 MiB\n"...)
	}
	return len(p), nil
}

func (l *log) printf(format string, args ...any) {
	fmt.Fprintf(l, format, args...)
}

func (l *log) take() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.b
	l.b = nil
	return b
}
