package main

import (
	"context"
	"strconv"
	"strings"

	eventspb "github.com/micro/platform/proto/events"
	namespacespb "github.com/micro/platform/proto/namespaces"
	runtimepb "github.com/micro/platform/proto/runtime"
	storepb "github.com/micro/platform/proto/store"
	usagepb "github.com/micro/platform/proto/usage"
)

// used asks those who know what is used of the limits. What cannot be asked is
// not known.
func (x *client) used(ctx context.Context) map[string]int64 {
	out := map[string]int64{}
	for _, ask := range []func(context.Context, map[string]int64) error{x.usedMonth, x.usedServices, x.usedStore, x.usedTopics, x.usedMembers} {
		ask(ctx, out) //nolint:errcheck // not known
	}
	return out
}

// usedMonth is what a month has an amount of.
func (x *client) usedMonth(ctx context.Context, out map[string]int64) error {
	rsp, err := usagepb.NewUsageClient(x.Conn).Read(ctx, &usagepb.ReadRequest{Namespace: x.Namespace})
	if err != nil {
		return err
	}
	const minute = 60
	out["requests"], out["egress"] = rsp.GetTotal().GetCalls(), rsp.GetTotal().GetEgressBytes()
	out["build_minutes"] = rsp.GetTotal().GetBuildSeconds() / minute
	return nil
}

// usedServices counts services, and the containers of that which has most.
func (x *client) usedServices(ctx context.Context, out map[string]int64) error {
	rsp, err := x.runtime().Read(ctx, &runtimepb.ReadRequest{Options: &runtimepb.ReadOptions{Namespace: x.Namespace}})
	if err != nil {
		return err
	}
	names, most := map[string]bool{}, int64(0)
	for _, s := range rsp.GetServices() {
		names[s.GetName()] = true
		_, wanted, _ := strings.Cut(s.GetMetadata()["instances"], "/")
		if n, err := strconv.ParseInt(wanted, 10, 64); err == nil {
			most = max(most, n)
		}
	}
	out["services"], out["replicas"] = int64(len(names)), most
	return nil
}

func (x *client) usedStore(ctx context.Context, out map[string]int64) error {
	rsp, err := storepb.NewStoreClient(x.Conn).Usage(ctx, &storepb.UsageRequest{Database: x.Namespace})
	if err != nil {
		return err
	}
	for _, l := range rsp.GetLimits() {
		switch l.GetName() {
		case "keys":
			out["keys"] = l.GetUsed()
		case "bytes", "blob_bytes":
			out["store_bytes"] += l.GetUsed()
		}
	}
	return nil
}

func (x *client) usedTopics(ctx context.Context, out map[string]int64) error {
	rsp, err := eventspb.NewTopicsClient(x.Conn).List(ctx, &eventspb.ListTopicsRequest{Namespace: x.Namespace})
	if err != nil {
		return err
	}
	out["topics"] = int64(len(rsp.GetTopics()))
	for _, t := range rsp.GetTopics() {
		out["event_bytes"] += t.GetBytes()
	}
	return nil
}

func (x *client) usedMembers(ctx context.Context, out map[string]int64) error {
	rsp, err := namespacespb.NewMembersClient(x.Conn).List(ctx, &namespacespb.ListMembersRequest{Namespace: x.Namespace})
	if err != nil {
		return err
	}
	out["members"] = int64(len(rsp.GetMembers()))
	return nil
}
