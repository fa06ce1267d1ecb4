package restore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/micro/platform/internal/archive"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// Deployed is a service that was deployed, and the revision that was made.
type Deployed struct {
	Service  *runtimepb.Service
	Revision int64
}

const uploadScheme = "source://"

// serviceWriter uploads sources and deploys what is made of them.
type serviceWriter struct {
	i    *Import
	part archive.Part

	seen    int64
	service *archive.Service
	stream  runtimepb.Source_UploadClient
}

func (w *serviceWriter) file(ctx context.Context, f archive.File, skip int64) error {
	if f.Ext == ".json" {
		if err := w.finish(ctx); err != nil {
			return err
		}
		return archive.Lines(f, func(s archive.Service) error {
			if w.seen++; w.seen > skip {
				w.service = &s
			}
			return nil
		})
	}
	if w.service == nil {
		return nil
	}
	if w.stream == nil {
		if err := w.open(ctx); err != nil {
			return err
		}
	}
	for b := f.Content; len(b) > 0; {
		n := min(blobChunk, len(b))
		if err := w.stream.Send(&runtimepb.UploadRequest{Data: b[:n]}); err != nil {
			if _, cause := w.stream.CloseAndRecv(); cause != nil {
				err = cause
			}
			return err
		}
		b = b[n:]
	}
	return nil
}

// open begins to upload the source, under the name that the service knows.
func (w *serviceWriter) open(ctx context.Context) error {
	name, version, ok := strings.Cut(strings.TrimPrefix(w.service.Source, uploadScheme), ":")
	if !ok || !strings.HasPrefix(w.service.Source, uploadScheme) {
		return fmt.Errorf("the archive is damaged: service %.100q has no uploaded source", w.service.Key())
	}
	var err error
	if w.stream, err = runtimepb.NewSourceClient(w.i.conn).Upload(ctx); err != nil {
		return err
	}
	return w.stream.Send(&runtimepb.UploadRequest{Service: &runtimepb.Service{Name: name, Version: version}})
}

// finish deploys the service that was read.
func (w *serviceWriter) finish(ctx context.Context) error {
	s := w.service
	if s == nil {
		return nil
	}
	if w.stream != nil {
		if _, err := w.stream.CloseAndRecv(); err != nil {
			return fmt.Errorf("upload the source of %s: %w", s.Key(), err)
		}
	} else if strings.HasPrefix(s.Source, uploadScheme) {
		w.i.o.Say(fmt.Sprintf("service %s has no source in the archive, and is not deployed", s.Key()))
		w.service = nil
		return w.i.advance(ctx, w.part, w.seen, true)
	}
	if err := w.deploy(ctx, s); err != nil {
		return fmt.Errorf("deploy %s: %w", s.Key(), err)
	}
	w.service, w.stream = nil, nil
	return w.i.advance(ctx, w.part, w.seen, true)
}

func (w *serviceWriter) deploy(ctx context.Context, s *archive.Service) error {
	secrets, err := w.secrets(s)
	if err != nil {
		return err
	}
	if s.Limited {
		w.i.o.Say(fmt.Sprintf("service %s could do only what an API token allowed; now it may do what every service may", s.Key()))
	}
	m := &runtimepb.Service{Name: s.Name, Version: s.Version, Source: s.Source, Metadata: s.Metadata}
	var rsp *runtimepb.CreateResponse
	err = w.i.retry(ctx, func() (err error) {
		rsp, err = runtimepb.NewRuntimeClient(w.i.conn).Create(ctx, &runtimepb.CreateRequest{
			Resource: &runtimepb.Resource{Service: m},
			Options: &runtimepb.CreateOptions{
				Namespace: w.i.o.Namespace, Command: s.Command, Args: s.Args, Env: s.Env, Secrets: secrets,
				Entrypoint: s.Entrypoint, Instances: s.Instances, Force: w.i.o.Overwrite,
			},
		})
		return err
	})
	if err != nil {
		return err
	}
	w.i.deployed = append(w.i.deployed, Deployed{m, rsp.GetRevision()})
	return nil
}

// secrets opens those of a service. Without a passphrase it is deployed without.
func (w *serviceWriter) secrets(s *archive.Service) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		sealed := s.Secrets[name]
		if sealed == nil || w.i.sealer == nil {
			w.i.o.Say(fmt.Sprintf("secret %s of service %s was left out: it runs without", name, s.Key()))
			continue
		}
		var err error
		if out[name], err = w.i.sealer.Open(s.Place(name), sealed); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (w *serviceWriter) end(ctx context.Context) error { return w.finish(ctx) }
