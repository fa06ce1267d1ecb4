package main

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

// fakeNamespaces has one namespace, acme, and one that was erased.
type fakeNamespaces struct {
	namespacespb.UnimplementedNamespacesServer

	mu      sync.Mutex
	deleted *namespacespb.Deletion
}

const fakeTime = 1_800_000_000

func (f *fakeNamespaces) Delete(ctx context.Context, req *namespacespb.DeleteNamespaceRequest) (*namespacespb.DeleteNamespaceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.GetNamespace() != "acme" || req.GetConfirm() != "acme" {
		return nil, errors.New(codes.PermissionDenied, "no access to namespace %q", req.GetNamespace())
	}
	f.deleted = &namespacespb.Deletion{Namespace: "acme", State: namespacespb.State_DELETING, Account: "jane@example.com", Reason: req.GetReason(),
		Deleted: fakeTime, Erase: fakeTime + 1}
	return &namespacespb.DeleteNamespaceResponse{Deletion: f.deleted}, loggedIn(ctx)
}

func (f *fakeNamespaces) Undelete(ctx context.Context, _ *namespacespb.UndeleteNamespaceRequest) (*namespacespb.UndeleteNamespaceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deleted = nil
	return &namespacespb.UndeleteNamespaceResponse{}, loggedIn(ctx)
}

func (f *fakeNamespaces) GetDeletion(ctx context.Context, req *namespacespb.GetDeletionRequest) (*namespacespb.GetDeletionResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.deleted
	switch {
	case req.GetNamespace() == "gone":
		d = erasedNamespace()
	case d == nil:
		d = &namespacespb.Deletion{Namespace: "acme"}
	}
	return &namespacespb.GetDeletionResponse{Deletion: d}, loggedIn(ctx)
}

func (f *fakeNamespaces) ListDeletions(ctx context.Context, req *namespacespb.ListDeletionsRequest) (*namespacespb.ListDeletionsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rsp := &namespacespb.ListDeletionsResponse{Deletions: []*namespacespb.Deletion{
		{Namespace: "half", State: namespacespb.State_ERASING, Account: "joe@example.com", Deleted: fakeTime, Erase: fakeTime, Components: []*namespacespb.Erasure{
			{Component: "runtime", Started: fakeTime, Done: fakeTime, Calls: 2},
			{Component: "scheduler", Started: fakeTime, Calls: 7, Error: "Docker is not reachable"},
		}},
		erasedNamespace(),
	}}
	return rsp, loggedIn(ctx)
}

func (f *fakeNamespaces) Search(ctx context.Context, req *namespacespb.SearchRequest) (*namespacespb.SearchResponse, error) {
	return &namespacespb.SearchResponse{Namespaces: []*namespacespb.Found{
		{Namespace: "acme", Owner: "jane@example.com", Plan: "pro", Created: fakeTime, Suspended: strings.TrimSpace("text " + req.GetText())},
	}}, loggedIn(ctx)
}

func erasedNamespace() *namespacespb.Deletion {
	return &namespacespb.Deletion{Namespace: "gone", State: namespacespb.State_ERASED, Account: "root", Operator: true, Reason: "spam",
		Deleted: fakeTime, Erase: fakeTime, Erased: fakeTime, Free: fakeTime, Components: []*namespacespb.Erasure{{Component: "store", Started: fakeTime, Done: fakeTime, Calls: 3}}}
}
