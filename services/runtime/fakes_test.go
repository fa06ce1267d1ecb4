package runtime

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/tenants"
	authpb "github.com/micro/platform/proto/auth"
	builderpb "github.com/micro/platform/proto/builder"
	registrypb "github.com/micro/platform/proto/registry"
	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// world is what the reconciler changes: builds, deployments, accounts and
// nodes. Containers run and register as soon as they are applied, unless
// their source says otherwise.
type world struct {
	mu          sync.Mutex
	changed     chan struct{} // closed at each change
	builds      map[string]*builderpb.State
	sources     map[string]string // by build
	images      map[string]string // source by image
	deployments map[string]*schedulerpb.Status
	env         map[string][]string
	accounts    map[string]string // secret by namespace/id
	grants      map[string]string // of the last account of a revision: number to grants
	nodes       map[string]int    // how many, by namespace/account
	evicted     map[string]bool
	ended       map[string][]*schedulerpb.LogLine // by container
	exits       []*schedulerpb.Exit               // of a source that exits
	drained     []int64                           // milliseconds that removed deployments had
	most        int                               // deployments that ran at once
	away        bool                              // the scheduler cannot be reached
	hold        bool                              // builds stay in the queue

	// point is called before and after each effect. When it answers an error
	// the call ends with it: the effect has been had, or not, as the moment says.
	point func(name string) error
}

func newWorld() *world {
	return &world{changed: make(chan struct{}), builds: map[string]*builderpb.State{}, sources: map[string]string{}, images: map[string]string{},
		deployments: map[string]*schedulerpb.Status{}, env: map[string][]string{}, accounts: map[string]string{}, grants: map[string]string{},
		nodes: map[string]int{}, evicted: map[string]bool{}, ended: map[string][]*schedulerpb.LogLine{}, point: func(string) error { return nil }}
}

func (w *world) peers() Peers {
	return Peers{Builder: fakeBuilder{w: w}, Scheduler: fakeScheduler{w: w}, Auth: fakeAuth{w: w}, Accounts: fakeAccounts{w: w}, Nodes: fakeNodes{w: w}, Tenants: tenants.Fixed(plans.FromMap(nil))}
}

// do is one effect.
func (w *world) do(name string, effect func() error) error {
	var point func(string) error
	w.look(func() { point = w.point })
	if err := point("before " + name); err != nil {
		return err
	}
	w.mu.Lock()
	err := effect()
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	if err != nil {
		return err
	}
	return point("after " + name)
}

// change is something that happens in the world by itself.
func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) look(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

type id interface {
	GetNamespace() string
	GetService() string
	GetVersion() string
	GetRevision() int64
}

func name(i id) string {
	return fmt.Sprintf("%s/%s/%s/%d", i.GetNamespace(), i.GetService(), i.GetVersion(), i.GetRevision())
}

// fakeStream answers what next answers, until that is io.EOF.
type fakeStream[T any] struct {
	grpc.ClientStream
	next func() (*T, error)
}

func (s fakeStream[T]) Recv() (*T, error) { return s.next() }

var errGone = errors.New(codes.NotFound, "no such thing")

type fakeBuilder struct {
	builderpb.BuilderClient
	w *world
}

func (f fakeBuilder) Build(_ context.Context, req *builderpb.BuildRequest, _ ...grpc.CallOption) (*builderpb.BuildResponse, error) {
	rsp := &builderpb.BuildResponse{}
	return rsp, f.w.do("Build", func() error {
		n := name(req.GetId())
		if f.w.builds[n] != nil {
			return nil
		}
		rsp.Again = f.w.sources[n] != ""
		f.w.sources[n] = req.GetSource()
		b := &builderpb.State{Phase: builderpb.State_SUCCEEDED, Image: "sha256:" + n, Commit: "c0ffee"}
		f.w.images[b.GetImage()] = req.GetSource()
		if strings.Contains(req.GetSource(), "bad-code") {
			b = &builderpb.State{Phase: builderpb.State_FAILED, Reason: "main.go:3: undefined: x\nmain.go:4: undefined: y"}
		}
		if f.w.hold {
			b = &builderpb.State{}
		}
		f.w.builds[n] = b
		return nil
	})
}

func (f fakeBuilder) Watch(ctx context.Context, req *builderpb.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[builderpb.State], error) {
	ended, first := false, true
	return fakeStream[builderpb.State]{next: func() (*builderpb.State, error) {
		for {
			if ended {
				return nil, io.EOF
			}
			var s *builderpb.State
			var changed chan struct{}
			f.w.look(func() { s, changed = f.w.builds[name(req.GetId())], f.w.changed })
			if s == nil {
				return nil, errGone
			}
			if ended = s.GetPhase() >= builderpb.State_SUCCEEDED; ended || first {
				first = false
				return s, nil
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-changed:
			}
		}
	}}, nil
}

func (f fakeBuilder) Logs(_ context.Context, req *builderpb.LogsRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[builderpb.LogChunk], error) {
	chunks := []string{"compi", "ling\nlin", "king\n", "done"}
	return fakeStream[builderpb.LogChunk]{next: func() (*builderpb.LogChunk, error) {
		if len(chunks) == 0 {
			return nil, io.EOF
		}
		c := &builderpb.LogChunk{Data: []byte(chunks[0])}
		chunks = chunks[1:]
		return c, nil
	}}, nil
}

func (f fakeBuilder) Cancel(_ context.Context, req *builderpb.CancelRequest, _ ...grpc.CallOption) (*builderpb.CancelResponse, error) {
	return &builderpb.CancelResponse{}, f.w.do("Cancel", func() error {
		if b := f.w.builds[name(req.GetId())]; b != nil && b.GetPhase() < builderpb.State_SUCCEEDED {
			f.w.builds[name(req.GetId())] = &builderpb.State{Phase: builderpb.State_CANCELED}
		}
		return nil
	})
}

func (f fakeBuilder) Forget(_ context.Context, req *builderpb.ForgetRequest, _ ...grpc.CallOption) (*builderpb.ForgetResponse, error) {
	return &builderpb.ForgetResponse{}, f.w.do("Forget", func() error {
		delete(f.w.builds, name(req.GetId()))
		return nil
	})
}

type fakeScheduler struct {
	schedulerpb.SchedulerClient
	w *world
}

func (w *world) reach() error {
	if w.away {
		return errors.New(codes.Unavailable, "Docker is not reachable")
	}
	return nil
}

func (f fakeScheduler) Apply(_ context.Context, req *schedulerpb.ApplyRequest, _ ...grpc.CallOption) (*schedulerpb.ApplyResponse, error) {
	return &schedulerpb.ApplyResponse{}, f.w.do("Apply", func() error {
		if err := f.w.reach(); err != nil {
			return err
		}
		d := req.GetDeployment()
		n := name(d.GetId())
		if old := f.w.deployments[n]; old != nil && !old.GetImageGone() {
			return nil
		}
		source := f.w.images[d.GetImage()]
		s := &schedulerpb.Status{Id: d.GetId(), State: schedulerpb.Status_RUNNING, Wanted: d.GetInstances(),
			Instances: make([]*schedulerpb.Instance, d.GetInstances())}
		if strings.Contains(source, "exits") {
			s.State, s.Reason, s.Instances = schedulerpb.Status_FAILED, "exited with code 1: no luck", nil
			s.Exits = f.w.exits
		}
		if strings.Contains(source, "slow") {
			s.State, s.Instances = schedulerpb.Status_STARTING, nil
		}
		f.w.deployments[n], f.w.env[n] = s, d.GetEnv()
		account := d.GetId().GetNamespace() + "/" + variable(d.GetEnv(), "MICRO_CLIENT_ID")
		if !strings.Contains(source, "silent") && s.GetState() != schedulerpb.Status_FAILED && !f.w.evicted[account] {
			f.w.nodes[account] = int(d.GetInstances())
			if strings.Contains(source, "half") {
				f.w.nodes[account] = 1
			}
		}
		f.w.most = max(f.w.most, len(f.w.deployments))
		return nil
	})
}

func variable(env []string, name string) string {
	for _, e := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

func (f fakeScheduler) Scale(_ context.Context, req *schedulerpb.ScaleRequest, _ ...grpc.CallOption) (*schedulerpb.ScaleResponse, error) {
	return &schedulerpb.ScaleResponse{}, f.w.do("Scale", func() error {
		n := name(req.GetId())
		if f.w.deployments[n] == nil {
			return errGone
		}
		s := proto.CloneOf(f.w.deployments[n])
		s.Wanted, s.Instances = req.GetInstances(), make([]*schedulerpb.Instance, req.GetInstances())
		f.w.deployments[n] = s
		return nil
	})
}

func (f fakeScheduler) Remove(_ context.Context, req *schedulerpb.RemoveRequest, _ ...grpc.CallOption) (*schedulerpb.RemoveResponse, error) {
	return &schedulerpb.RemoveResponse{}, f.w.do("Remove", func() error {
		if err := f.w.reach(); err != nil {
			return err
		}
		delete(f.w.deployments, name(req.GetId()))
		f.w.drained = append(f.w.drained, req.GetDrain())
		return nil
	})
}

func (f fakeScheduler) Watch(ctx context.Context, _ *schedulerpb.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[schedulerpb.Status], error) {
	told := map[string]*schedulerpb.Status{}
	ready := false
	return fakeStream[schedulerpb.Status]{next: func() (*schedulerpb.Status, error) {
		for {
			var now map[string]*schedulerpb.Status
			var changed chan struct{}
			var err error
			f.w.look(func() { now, changed, err = maps.Clone(f.w.deployments), f.w.changed, f.w.reach() })
			if err != nil {
				return nil, err
			}
			for n, s := range now {
				if told[n] != s {
					told[n] = s
					return s, nil
				}
			}
			for n, s := range told {
				if now[n] == nil {
					delete(told, n)
					return &schedulerpb.Status{Id: s.GetId(), State: schedulerpb.Status_GONE}, nil
				}
			}
			if !ready {
				ready = true
				return &schedulerpb.Status{Ready: true}, nil
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-changed:
			}
		}
	}}, nil
}

func (f fakeScheduler) Logs(ctx context.Context, req *schedulerpb.LogsRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[schedulerpb.LogLine], error) {
	n, sent, ready := name(req.GetId()), false, false
	return fakeStream[schedulerpb.LogLine]{next: func() (*schedulerpb.LogLine, error) {
		for {
			var there bool
			var changed chan struct{}
			f.w.look(func() { there, changed = f.w.deployments[n] != nil, f.w.changed })
			switch {
			case there && !sent:
				sent = true
				return &schedulerpb.LogLine{Timestamp: 1700000000000, Message: "hello from " + n, Container: "running"}, nil
			case !sent:
				return nil, errGone
			case !there, !req.GetFollow():
				return nil, io.EOF
			case !ready:
				ready = true
				return &schedulerpb.LogLine{Ready: true}, nil
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-changed:
			}
		}
	}}, nil
}

func (f fakeScheduler) Ended(_ context.Context, req *schedulerpb.EndedRequest, _ ...grpc.CallOption) (*schedulerpb.Exit, error) {
	e := &schedulerpb.Exit{}
	return e, f.w.do("Ended", func() error {
		lines, ok := f.w.ended[req.GetContainer()]
		if !ok {
			return errGone
		}
		for _, l := range lines {
			e.Lines = append(e.Lines, proto.CloneOf(l))
		}
		return nil
	})
}

type fakeAuth struct {
	authpb.AuthClient
	w *world
}

func (f fakeAuth) Generate(_ context.Context, req *authpb.GenerateRequest, _ ...grpc.CallOption) (*authpb.GenerateResponse, error) {
	return &authpb.GenerateResponse{}, f.w.do("Generate", func() error {
		n := req.GetOptions().GetNamespace() + "/" + req.GetId()
		if f.w.accounts[n] != "" {
			return errors.New(codes.InvalidArgument, "Account with this ID already exists")
		}
		f.w.accounts[n] = req.GetSecret()
		f.w.grants[req.GetMetadata()["revision"]] = req.GetMetadata()["grants"]
		return nil
	})
}

func (f fakeAuth) Token(_ context.Context, req *authpb.TokenRequest, _ ...grpc.CallOption) (*authpb.TokenResponse, error) {
	return &authpb.TokenResponse{}, f.w.do("Token", func() error {
		if f.w.accounts[req.GetOptions().GetNamespace()+"/"+req.GetId()] != req.GetSecret() {
			return errors.New(codes.InvalidArgument, "Secret not correct")
		}
		return nil
	})
}

type fakeAccounts struct {
	authpb.AccountsClient
	w *world
}

func (f fakeAccounts) Delete(_ context.Context, req *authpb.DeleteAccountRequest, _ ...grpc.CallOption) (*authpb.DeleteAccountResponse, error) {
	return &authpb.DeleteAccountResponse{}, f.w.do("Delete", func() error {
		n := req.GetOptions().GetNamespace() + "/" + req.GetId()
		if f.w.accounts[n] == "" {
			return errors.New(codes.InvalidArgument, "Account not found with this ID")
		}
		delete(f.w.accounts, n)
		return nil
	})
}

type fakeNodes struct {
	registrypb.NodesClient
	w *world
}

func (f fakeNodes) List(_ context.Context, req *registrypb.NodesRequest, _ ...grpc.CallOption) (*registrypb.ListResponse, error) {
	rsp := &registrypb.ListResponse{}
	return rsp, f.w.do("List", func() error {
		x := &registrypb.Service{Name: "x"}
		for i := range f.w.nodes[req.GetDomain()+"/"+req.GetAccount()] {
			x.Nodes = append(x.Nodes, &registrypb.Node{Id: fmt.Sprintf("x-%d", i), Address: fmt.Sprintf("10.0.0.%d:8080", i)})
		}
		rsp.Services = append(rsp.Services, x)
		return nil
	})
}

func (f fakeNodes) Evict(_ context.Context, req *registrypb.NodesRequest, _ ...grpc.CallOption) (*registrypb.EmptyResponse, error) {
	return &registrypb.EmptyResponse{}, f.w.do("Evict", func() error {
		n := req.GetDomain() + "/" + req.GetAccount()
		delete(f.w.nodes, n)
		f.w.evicted[n] = true
		return nil
	})
}
