package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/framework/debug"
	"github.com/micro/platform/framework/errors"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
	registrypb "github.com/micro/platform/proto/registry"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// fakePlatform answers as the platform does, for one person, jane of namespace
// acme. A service called broken fails to build, one called slow never ends.
type fakePlatform struct {
	authpb.UnimplementedAuthServer
	namespacespb.UnimplementedSignupServer
	runtimepb.UnimplementedRuntimeServer

	mu       sync.Mutex
	services map[string]*runtimepb.Service
	uploads  map[string][]string // names in the last upload of a service
}

// startFake starts it, and answers its address.
func startFake() (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	f := &fakePlatform{services: map[string]*runtimepb.Service{}, uploads: map[string][]string{}}
	s := grpc.NewServer()
	authpb.RegisterAuthServer(s, f)
	authpb.RegisterAccountsServer(s, fakeAccounts{})
	authpb.RegisterTokensServer(s, fakeTokens{})
	authpb.RegisterRulesServer(s, fakeRules{})
	authpb.RegisterPasswordsServer(s, fakePasswords{})
	authpb.RegisterSessionsServer(s, fakeSessions{})
	authpb.RegisterKeysServer(s, fakeKeys{})
	namespacespb.RegisterSignupServer(s, f)
	namespacespb.RegisterPlansServer(s, newFakePlans())
	namespacespb.RegisterNamespacesServer(s, &fakeNamespaces{})
	registrypb.RegisterRegistryServer(s, fakeRegistry{f: f})
	runtimepb.RegisterRuntimeServer(s, f)
	runtimepb.RegisterSourceServer(s, fakeSource{f: f})
	debug.New().Register(s, "auth")
	go s.Serve(l) //nolint:errcheck // it ends with the test
	return l.Addr().String(), s.Stop, nil
}

// fakeAPI describes the service notes to those who are logged in.
func fakeAPI(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Authorization") != "Bearer a.b.c":
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"id":"go.micro.api","code":401,"detail":"an account is required","status":"Unauthorized"}`) //nolint:errcheck // a test
	case r.URL.Path == "/page/openapi.json":
		http.NotFound(w, r)
	case r.URL.Path != "/notes/openapi.json":
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"id":"go.micro.api","code":404,"detail":"service nothere: route not found","status":"Not Found"}`) //nolint:errcheck // a test
	default:
		io.WriteString(w, `{"openapi":"3.1.0","info":{"title":"notes"},"paths":{"/notes/Notes/Count":{"post":{
			"x-micro-service":"notes","x-micro-endpoint":"Notes.Count"}}}}`) //nolint:errcheck // a test
	}
}

func loggedIn(ctx context.Context) error {
	if md, _ := metadata.FromIncomingContext(ctx); strings.Join(md.Get("authorization"), "") != "Bearer a.b.c" {
		return errors.New(codes.Unauthenticated, "an account is required").From("fake")
	}
	return nil
}

func (f *fakePlatform) Token(_ context.Context, req *authpb.TokenRequest) (*authpb.TokenResponse, error) {
	if req.GetId() != "jane@example.com" || req.GetSecret() != "correct horse" {
		return nil, errors.New(codes.InvalidArgument, "Secret not correct").From("auth.Auth.Token")
	}
	return &authpb.TokenResponse{Token: &authpb.Token{AccessToken: "a.b.c", RefreshToken: "r", Expiry: time.Now().Add(time.Hour).Unix()}}, nil
}

func (f *fakePlatform) Inspect(context.Context, *authpb.InspectRequest) (*authpb.InspectResponse, error) {
	return &authpb.InspectResponse{Account: &authpb.Account{Id: "jane@example.com", Name: "jane", Issuer: "acme"}}, nil
}

type fakeAccounts struct {
	authpb.UnimplementedAccountsServer
}

func (fakeAccounts) List(ctx context.Context, _ *authpb.ListAccountsRequest) (*authpb.ListAccountsResponse, error) {
	return &authpb.ListAccountsResponse{Accounts: []*authpb.Account{{Id: "jane@example.com", Name: "jane\x1b[2J", Scopes: []string{"admin"}}}}, loggedIn(ctx)
}

func (f *fakePlatform) Begin(_ context.Context, req *namespacespb.BeginRequest) (*namespacespb.BeginResponse, error) {
	if !strings.Contains(req.GetEmail(), "@") {
		return nil, errors.New(codes.InvalidArgument, "enter a valid email address").From("namespaces.Signup.Begin")
	}
	return &namespacespb.BeginResponse{ExpiresIn: 600}, nil
}

func (f *fakePlatform) Verify(_ context.Context, req *namespacespb.VerifyRequest) (*namespacespb.VerifyResponse, error) {
	if req.GetCode() != "ABCD2345" {
		return nil, errors.New(codes.InvalidArgument, "code is not valid or has expired").From("namespaces.Signup.Verify")
	}
	return &namespacespb.VerifyResponse{Proposal: "acme"}, nil
}

func (f *fakePlatform) Complete(_ context.Context, req *namespacespb.CompleteRequest) (*namespacespb.CompleteResponse, error) {
	if req.GetNamespace() == "taken" {
		return nil, errors.New(codes.AlreadyExists, "namespace taken is taken").From("namespaces.Signup.Complete")
	}
	return &namespacespb.CompleteResponse{Namespace: req.GetNamespace(), Account: req.GetEmail()}, nil
}

// fakeRegistry describes every service that is deployed in the same way.
type fakeRegistry struct {
	registrypb.UnimplementedRegistryServer
	f *fakePlatform
}

func (r fakeRegistry) GetService(ctx context.Context, req *registrypb.GetRequest) (*registrypb.GetResponse, error) {
	if err := loggedIn(ctx); err != nil {
		return nil, err
	}
	if req.GetService() == "auth" {
		return &registrypb.GetResponse{Services: []*registrypb.Service{{Name: "auth", Version: "latest", Nodes: []*registrypb.Node{{Id: "auth", Address: "platform"}}}}}, nil
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if r.f.services[req.GetService()] == nil || req.GetOptions().GetDomain() != "acme" {
		return nil, errors.New(codes.NotFound, "service not found").From("registry.Registry.GetService")
	}
	name := req.GetService()
	field := &registrypb.Value{Name: "name", Type: "string"}
	handler := strings.ToUpper(name[:1]) + name[1:]
	return &registrypb.GetResponse{Services: []*registrypb.Service{{
		Name: name, Version: "latest", Nodes: []*registrypb.Node{{Id: name + "-1", Address: "10.0.0.2:8080"}},
		Endpoints: []*registrypb.Endpoint{
			{Name: handler + ".Call", Request: &registrypb.Value{Name: "Request", Type: "Request", Values: []*registrypb.Value{field}},
				Response: &registrypb.Value{Name: "Response", Type: "Response", Values: []*registrypb.Value{{Name: "msg", Type: "string"}}}},
			{Name: handler + ".Stream", Metadata: map[string]string{"stream": "true"}},
		},
	}}}, nil
}

func (r fakeRegistry) ListServices(ctx context.Context, _ *registrypb.ListRequest) (*registrypb.ListResponse, error) {
	if err := loggedIn(ctx); err != nil {
		return nil, err
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	rsp := &registrypb.ListResponse{}
	for name := range r.f.services {
		rsp.Services = append(rsp.Services, &registrypb.Service{Name: name, Version: "latest"})
	}
	return rsp, nil
}

func (f *fakePlatform) Create(ctx context.Context, req *runtimepb.CreateRequest) (*runtimepb.CreateResponse, error) {
	if err := loggedIn(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := req.GetResource().GetService()
	if f.services[s.GetName()] != nil && !req.GetOptions().GetForce() {
		return &runtimepb.CreateResponse{}, nil
	}
	s.Status = statusRunning
	s.Metadata["owner"], s.Metadata["group"], s.Metadata["build"] = "jane@example.com", "acme", "sha256abcdef"
	s.Metadata["env"] = strings.Join(req.GetOptions().GetEnv(), " ")
	s.Metadata["credentials"] = req.GetOptions().GetSecrets()["GIT_CREDENTIALS"]
	s.Metadata["uploaded"] = strings.Join(f.uploads[s.GetName()], " ")
	if s.GetName() == "broken" {
		s.Status, s.Metadata["error"] = statusError, "it does not compile"
	}
	f.services[s.GetName()] = s
	return &runtimepb.CreateResponse{Revision: 1}, nil
}

func (f *fakePlatform) Update(_ context.Context, req *runtimepb.UpdateRequest) (*runtimepb.UpdateResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	given := req.GetResource().GetService()
	s := f.services[given.GetName()]
	if s == nil {
		return nil, errors.New(codes.NotFound, "not found").From("runtime.Runtime.Update")
	}
	maps.Copy(s.Metadata, given.GetMetadata())
	return &runtimepb.UpdateResponse{Revision: 2}, nil
}

func (f *fakePlatform) Revisions(_ context.Context, req *runtimepb.RevisionsRequest) (*runtimepb.RevisionsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.services[req.GetService()]
	if s == nil {
		return nil, errors.New(codes.NotFound, "not found").From("runtime.Runtime.Revisions")
	}
	revision := runtimepb.Revision{Version: s.GetVersion(), Source: s.GetSource(), Commit: "c0ffee1234", Author: "jane@example.com"}
	newest, middle := proto.CloneOf(&revision), proto.CloneOf(&revision)
	newest.Number, newest.Status, newest.BuiltAs = 3, statusRunning, 1
	middle.Number, middle.Status, middle.Kept, middle.Detail = 2, statusError, true, "it crashed"
	return &runtimepb.RevisionsResponse{Revisions: []*runtimepb.Revision{newest, middle}}, nil
}

func (f *fakePlatform) Crashes(_ context.Context, req *runtimepb.CrashesRequest) (*runtimepb.CrashesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.services[req.GetService()] == nil {
		return nil, errors.New(codes.NotFound, "not found").From("runtime.Runtime.Crashes")
	}
	rsp := &runtimepb.CrashesResponse{}
	for i, code := range []int64{1, 139} {
		rsp.Crashes = append(rsp.Crashes, &runtimepb.Crash{
			Revision: 3, Container: fmt.Sprintf("c0ffee%d", i), At: 1_700_000_000_000, ExitCode: code, Reason: fmt.Sprintf("exited with code %d", code),
			Lines: []*runtimepb.LogRecord{{Timestamp: 1_700_000_000, Message: fmt.Sprintf("panic %d\x1b[2J", i)}},
		})
	}
	return rsp, nil
}

func (f *fakePlatform) Rollback(_ context.Context, req *runtimepb.RollbackRequest) (*runtimepb.RollbackResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.services[req.GetService()] == nil:
		return nil, errors.New(codes.NotFound, "not found").From("runtime.Runtime.Rollback")
	case req.GetRevision() > 3:
		return nil, errors.New(codes.NotFound, "there is no revision %d", req.GetRevision()).From("runtime.Runtime.Rollback")
	}
	return &runtimepb.RollbackResponse{Revision: 4, From: cmp.Or(req.GetRevision(), 2)}, nil
}

func (f *fakePlatform) Scale(_ context.Context, req *runtimepb.ScaleRequest) (*runtimepb.ScaleResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services[req.GetService()].Metadata["instances"] = fmt.Sprintf("%[1]d/%[1]d", req.GetInstances())
	return &runtimepb.ScaleResponse{Before: 1}, nil
}

func (f *fakePlatform) Read(ctx context.Context, req *runtimepb.ReadRequest) (*runtimepb.ReadResponse, error) {
	if err := loggedIn(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	rsp := &runtimepb.ReadResponse{}
	for name, s := range f.services {
		if want := req.GetOptions().GetService(); want == "" || want == name {
			rsp.Services = append(rsp.Services, s)
		}
	}
	return rsp, nil
}

func (f *fakePlatform) Delete(_ context.Context, req *runtimepb.DeleteRequest) (*runtimepb.DeleteResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := req.GetResource().GetService().GetName()
	if f.services[name] == nil {
		return nil, errors.New(codes.NotFound, "not found").From("runtime.Runtime.Delete")
	}
	delete(f.services, name)
	return &runtimepb.DeleteResponse{}, nil
}

func (f *fakePlatform) Watch(req *runtimepb.WatchRequest, stream grpc.ServerStreamingServer[runtimepb.WatchResponse]) error {
	last := &runtimepb.WatchResponse{Status: statusRunning}
	if req.GetService() == "broken" {
		last = &runtimepb.WatchResponse{Status: statusError, Detail: "it does not compile"}
	}
	for _, now := range []*runtimepb.WatchResponse{{Status: 1}, {Status: statusBuilding, Detail: "fetching"}, last} {
		if now == last && req.GetService() == "slow" {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		if err := stream.Send(now); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakePlatform) Logs(req *runtimepb.LogsRequest, stream grpc.ServerStreamingServer[runtimepb.LogRecord]) error {
	f.mu.Lock()
	known := f.services[req.GetService()] != nil
	f.mu.Unlock()
	if !known {
		return errors.New(codes.NotFound, "service not found").From("runtime.Runtime.Logs")
	}
	text := fmt.Sprintf("%d lines\x1b[2J", req.GetCount())
	if req.GetBuild() {
		text = "./main.go:3:1: undefined: nothing"
	}
	return stream.Send(&runtimepb.LogRecord{Message: text})
}

// fakeSource takes uploads apart.
type fakeSource struct {
	runtimepb.UnimplementedSourceServer
	f *fakePlatform
}

func (u fakeSource) Upload(stream runtimepb.Source_UploadServer) error {
	if err := loggedIn(stream.Context()); err != nil {
		return err
	}
	var name string
	var data bytes.Buffer
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if m.GetService() != nil {
			name = m.GetService().GetName()
		}
		data.Write(m.GetData())
	}
	var names []string
	for r := tar.NewReader(&data); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	u.f.mu.Lock()
	defer u.f.mu.Unlock()
	u.f.uploads[name] = names
	return stream.SendAndClose(&runtimepb.UploadResponse{Id: "source://" + name + ":latest"})
}
