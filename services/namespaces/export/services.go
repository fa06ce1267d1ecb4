package export

import (
	"context"
	"google.golang.org/protobuf/proto"

	"github.com/micro/platform/internal/archive"
	"github.com/micro/platform/internal/rpc"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// deployed writes the services, each with its source behind it.
func (e *exporter) deployed(ctx context.Context) error {
	if err := e.begin(archive.Services, ""); err != nil {
		return err
	}
	stream, err := e.Runtime.Export(ctx, &runtimepb.ExportRequest{Namespace: e.Namespace})
	if err != nil {
		return err
	}
	return each(stream, func(m *runtimepb.ExportResponse) error {
		if m.GetService() == nil {
			_, err := e.part.Write(m.GetSource())
			return err
		}
		s, err := e.toService(m.GetService())
		if err != nil {
			return err
		}
		err = e.part.Object(s)
		e.Progress(e.part.Name(), e.part.Records())
		return err
	})
}

func (e *exporter) toService(d *runtimepb.Deployed) (archive.Service, error) {
	s := archive.Service{
		Name: d.GetName(), Version: d.GetVersion(), Source: d.GetSource(), Metadata: d.GetMetadata(), Owner: d.GetOwner(),
		Entrypoint: d.GetEntrypoint(), Instances: d.GetInstances(), Env: d.GetEnv(), Command: d.GetCommand(), Args: d.GetArgs(),
		Limited: d.GetLimited(), Grants: d.GetGrants(), Revisions: []archive.Revision{},
	}
	for _, r := range d.GetRevisions() {
		s.Revisions = append(s.Revisions, archive.Revision{
			Number: r.GetNumber(), Status: r.GetStatus(), Detail: r.GetDetail(), Author: r.GetAuthor(), Created: milliseconds(r.GetCreated()), Since: milliseconds(r.GetSince()),
			Source: r.GetSource(), Commit: r.GetCommit(),
		})
	}
	for name, value := range d.GetSecrets() {
		if s.Secrets == nil {
			s.Secrets = map[string][]byte{}
		}
		s.Secrets[name] = nil
		if e.sealer == nil {
			continue
		}
		var err error
		if s.Secrets[name], err = e.sealer.Seal(s.Place(name), value); err != nil {
			return s, err
		}
	}
	return s, nil
}

// message is a message of an API as a line has it: as the REST API answers it.
type message struct{ proto.Message }

// MarshalJSON implements json.Marshaler.
func (m message) MarshalJSON() ([]byte, error) {
	return rpc.JSONOut.Marshal(m.Message)
}
