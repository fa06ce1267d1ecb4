package restore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/archive"
	authpb "github.com/micro/platform/proto/auth"
	eventspb "github.com/micro/platform/proto/events"
	namespacespb "github.com/micro/platform/proto/namespaces"
	runtimepb "github.com/micro/platform/proto/runtime"
	storepb "github.com/micro/platform/proto/store"
)

// Plan is what an import would do.
type Plan struct {
	// Resumed says that it goes on where it was cut off.
	Resumed bool
	// Conflicts are names that exist; empty with Options.Overwrite.
	Conflicts []string
	// TooMuch is what the namespace's plan does not allow.
	TooMuch []string
	// Parts are those that are imported, Done how much of each is there.
	Parts []archive.Part
	Done  map[string]int64
}

// maxShown is how many names an error lists.
const maxShown = 20

// Refusal is why the plan cannot be carried out, or nil.
func (p Plan) Refusal() error {
	switch {
	case len(p.TooMuch) > 0:
		return errors.New(codes.ResourceExhausted, "nothing was imported, as it does not fit into the namespace's plan:\n  %s", strings.Join(p.TooMuch, "\n  "))
	case len(p.Conflicts) > 0:
		shown := p.Conflicts[:min(len(p.Conflicts), maxShown)]
		text := strings.Join(shown, "\n  ")
		if more := len(p.Conflicts) - len(shown); more > 0 {
			text += fmt.Sprintf("\n  and %d more", more)
		}
		return errors.New(codes.AlreadyExists, "nothing was imported, as these exist; --overwrite replaces them:\n  %s", text)
	}
	return nil
}

// Plan looks at the namespace.
func (i *Import) Plan(ctx context.Context) (Plan, error) {
	rsp, err := i.archives().BeginImport(ctx, &namespacespb.BeginImportRequest{Namespace: i.o.Namespace, Digest: i.a.Digest, Look: true})
	if err != nil {
		return Plan{}, err
	}
	i.resumed = rsp.GetResumed()
	for _, p := range rsp.GetParts() {
		i.done[p.GetName()] = p.GetRecords()
	}
	out := Plan{Resumed: i.resumed, Done: i.done}
	for _, p := range i.a.Parts {
		if i.wants(p) {
			out.Parts = append(out.Parts, p)
		}
	}
	have, err := i.look(ctx)
	if err != nil {
		return out, err
	}
	if !i.resumed && !i.o.Overwrite {
		out.Conflicts = i.conflicts(have)
	}
	if !i.resumed {
		out.TooMuch, err = i.tooMuch(ctx, have)
	}
	return out, err
}

// of answers the names of the parts of a kind that are wanted: tables, or topics.
func (i *Import) of(kind archive.Kind) []string {
	var out []string
	for _, p := range i.a.Parts {
		if p.Kind == kind && i.wants(p) {
			out = append(out, p.Of)
		}
	}
	return out
}

// existing is what the namespace has already.
type existing struct {
	services, tables, topics, blobs map[string]bool
	rules                           map[string]*authpb.Rule
	config                          any
}

func (i *Import) look(ctx context.Context) (existing, error) {
	have := existing{services: map[string]bool{}, tables: map[string]bool{}, topics: map[string]bool{}, blobs: map[string]bool{}, rules: map[string]*authpb.Rule{}}
	ns := i.o.Namespace
	services, err := runtimepb.NewRuntimeClient(i.conn).Read(ctx, &runtimepb.ReadRequest{Options: &runtimepb.ReadOptions{Namespace: ns}})
	if err != nil {
		return have, err
	}
	for _, s := range services.GetServices() {
		have.services[s.GetName()+":"+s.GetVersion()] = true
	}
	tables, err := storepb.NewStoreClient(i.conn).Tables(ctx, &storepb.TablesRequest{Database: ns})
	if err != nil {
		return have, err
	}
	for _, t := range tables.GetDetails() {
		have.tables[t.GetName()] = t.GetKeys() > 0
	}
	topics, err := eventspb.NewTopicsClient(i.conn).List(ctx, &eventspb.ListTopicsRequest{Namespace: ns})
	if err != nil {
		return have, err
	}
	for _, t := range topics.GetTopics() {
		have.topics[t.GetName()] = t.GetEvents() > 0 || t.GetGroups() > 0
	}
	blobs, err := storepb.NewBlobStoreClient(i.conn).List(ctx, &storepb.BlobListRequest{Options: &storepb.BlobListOptions{Namespace: ns}})
	if err != nil {
		return have, err
	}
	for _, key := range blobs.GetKeys() {
		have.blobs[key] = true
	}
	rules, err := authpb.NewRulesClient(i.conn).List(ctx, &authpb.ListRequest{Options: &authpb.Options{Namespace: ns}})
	if err != nil {
		return have, err
	}
	for _, r := range rules.GetRules() {
		have.rules[r.GetId()] = r
	}
	have.config, err = i.config(ctx)
	return have, err
}

// conflicts lists what the archive has and the namespace has, too.
func (i *Import) conflicts(have existing) []string {
	var out []string
	add := func(kind archive.Kind, what string, name string, exists bool) {
		if i.o.Only[kind] && exists {
			out = append(out, what+" "+name)
		}
	}
	for _, s := range i.a.services {
		add(archive.Services, "service", s.Key(), have.services[s.Key()])
	}
	for _, v := range i.a.values {
		_, there := get(have.config, v.Path)
		add(archive.Config, "config", v.Path, there)
	}
	for _, r := range i.a.rules {
		other := have.rules[r.ID]
		add(archive.Rules, "rule", r.ID, other != nil && !same(r, other))
	}
	for _, t := range i.of(archive.Store) {
		add(archive.Store, "table", t, have.tables[t])
	}
	for _, key := range slices.Sorted(maps.Keys(i.a.blobs)) {
		add(archive.Blobs, "blob", key, have.blobs[key])
	}
	for _, t := range i.of(archive.Events) {
		add(archive.Events, "topic", t, have.topics[t])
	}
	return out
}

// tooMuch lists the limits that the namespace would go over. What exists and is
// replaced counts twice, unless it is a name.
func (i *Import) tooMuch(ctx context.Context, have existing) ([]string, error) {
	rsp, err := namespacespb.NewPlansClient(i.conn).Limits(ctx, &namespacespb.LimitsRequest{Namespace: i.o.Namespace})
	if err != nil {
		return nil, err
	}
	usage, err := storepb.NewStoreClient(i.conn).Usage(ctx, &storepb.UsageRequest{Database: i.o.Namespace})
	if err != nil {
		return nil, err
	}
	used := map[string]int64{}
	for _, l := range usage.GetLimits() {
		used[l.GetName()] = l.GetUsed()
	}
	want := map[string]int64{}
	if i.o.Only[archive.Services] {
		want["services"] = union(have.services, i.a.services, archive.Service.Key)
	}
	if i.o.Only[archive.Events] {
		names := slices.DeleteFunc(i.of(archive.Events), func(t string) bool { return strings.HasSuffix(t, ".dead") })
		want["topics"] = union(have.topics, names, func(t string) string { return t })
	}
	if i.o.Only[archive.Store] {
		want["keys"] = used["keys"] + i.a.keys
		want["store_bytes"] = used["bytes"] + used["blob_bytes"] + i.a.bytes
	}
	var out []string
	for _, l := range rsp.GetLimits() {
		if n, is := want[l.GetName()]; is && l.GetValue() >= 0 && n > l.GetValue() {
			out = append(out, fmt.Sprintf("limit %s: %d are possible on plan %s, and there would be %d", l.GetName(), l.GetValue(), rsp.GetPlan(), n))
		}
	}
	return out, nil
}

// union counts the names that there would be.
func union[T any](have map[string]bool, more []T, name func(T) string) int64 {
	all := maps.Clone(have)
	for _, m := range more {
		all[name(m)] = true
	}
	return int64(len(all))
}
