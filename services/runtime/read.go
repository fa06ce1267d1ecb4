package runtime

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// Read answers the services that match.
func (s *Service) Read(ctx context.Context, req *runtimepb.ReadRequest) (*runtimepb.ReadResponse, error) {
	o := req.GetOptions()
	namespace, err := identity.Member(ctx, o.GetNamespace())
	if err != nil {
		return nil, err
	}
	k := key{Namespace: namespace}
	if o.GetService() != "" {
		k.Name, k.Version = o.GetService(), o.GetVersion()
		if name, version, err := checkName(k.Name, k.Version); err != nil || name != k.Name || k.Version != "" && version != k.Version {
			return &runtimepb.ReadResponse{}, nil // nothing can have that name
		}
	}
	found, err := s.db.read(ctx, k)
	if err != nil {
		return nil, err
	}
	rsp := &runtimepb.ReadResponse{}
	for _, v := range found {
		rsp.Services = append(rsp.Services, v.message(s.now()))
	}
	return rsp, nil
}

// message is a service as clients know it.
func (v view) message(now time.Time) *runtimepb.Service {
	m := map[string]string{
		"source":   v.Source,
		"owner":    v.Owner,
		"group":    v.Namespace,
		"started":  v.StartedAt.UTC().Format(time.RFC3339),
		"revision": strconv.FormatInt(v.Number, 10),
	}
	if typed := v.Metadata["source"]; typed != "" {
		m["source"] = typed
	}
	for name, value := range v.Metadata {
		if _, ours := m[name]; !ours {
			m[name] = value
		}
	}
	maps.Copy(m, v.outcome(now))
	return &runtimepb.Service{Name: v.Name, Version: v.Version, Source: v.Source, Metadata: m, Status: v.state().status()}
}

// outcome is the metadata that says what became of the newest revision.
func (v view) outcome(now time.Time) map[string]string {
	m := map[string]string{"status": string(v.state())}
	if detail := oneLine(v.Reason); detail != "" {
		m["status"] += ": " + detail
	}
	if v.LastExit != "" {
		m["last_exit"] = oneLine(v.LastExit)
	}
	if text := v.crashing(now); text != "" {
		m["crashing"] = text
	}
	if v.state() == failed {
		m["error"] = oneLine(v.Reason)
	}
	if v.Commit != "" {
		m["build"] = v.Commit
	} else if v.Image != "" {
		m["build"] = strings.TrimPrefix(v.Image, "sha256:")
	}
	m["instances"] = fmt.Sprintf("%d/%d", v.Ready, max(v.Instances, 1))
	if v.Serving != 0 && v.Serving != v.Number {
		m["serving"] = strconv.FormatInt(v.Serving, 10)
	}
	return m
}

// state is that of the newest revision, unless the service is being deleted.
func (v view) state() state {
	if v.Deleted {
		return stopping
	}
	return v.State
}

// maxDetail bounds a reason on one line. All of it is in the logs.
const maxDetail = 1000

// oneLine makes one line of a reason that may have several.
func oneLine(reason string) string {
	var lines []string
	for line := range strings.Lines(reason) {
		line = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, line)
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	text := strings.ToValidUTF8(strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": "), "�")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}

// Watch streams a service's state, now and at each change.
func (s *Service) Watch(req *runtimepb.WatchRequest, stream grpc.ServerStreamingServer[runtimepb.WatchResponse]) error {
	ctx := stream.Context()
	namespace, err := identity.Member(ctx, req.GetOptions().GetNamespace())
	if err != nil {
		return err
	}
	name, version, err := checkName(req.GetService(), req.GetVersion())
	if err != nil {
		return err
	}
	if req.GetRevision() < 0 {
		return invalid("revision is %d: it counts from 1", req.GetRevision())
	}
	k := key{namespace, name, version}
	changed, leave := s.hub.subscribe(k.String())
	defer leave()
	var last *runtimepb.WatchResponse
	for {
		now, end, err := s.look(ctx, k, req.GetRevision())
		if errors.Code(err) == codes.NotFound && last != nil {
			return nil // it was there and is gone: the end of what can be told
		}
		if err != nil {
			return err
		}
		if last == nil || now.Status != last.Status || now.Detail != last.Detail || now.Revision != last.Revision || now.Since != last.Since {
			if err := stream.Send(now); err != nil {
				return err
			}
			last = now
		}
		if end {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// look answers the state of a revision and whether it is its last, or with
// number 0 that of the newest revision.
func (s *Service) look(ctx context.Context, k key, number int64) (*runtimepb.WatchResponse, bool, error) {
	if number != 0 {
		r, err := s.db.revision(ctx, k, number)
		if err != nil {
			return nil, false, err
		}
		return response(r.Number, r.State, r.Reason, r.Since), !r.State.underway(), nil
	}
	found, err := s.db.read(ctx, k)
	if err != nil {
		return nil, false, err
	}
	if len(found) == 0 {
		return nil, false, errNotFound
	}
	v := found[0]
	return response(v.Number, v.state(), v.Reason, v.Since), false, nil
}

func response(number int64, st state, reason string, since time.Time) *runtimepb.WatchResponse {
	return &runtimepb.WatchResponse{Revision: number, Status: st.status(), Detail: oneLine(reason), Since: since.UnixMilli()}
}

// String is how a revision is called in logs.
func (r revision) String() string { return fmt.Sprintf("%s r%d", r.key, r.Number) }
