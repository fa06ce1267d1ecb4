package export

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/internal/archive"
	"github.com/micro/platform/internal/identity"
	auditpb "github.com/micro/platform/proto/audit"
	authpb "github.com/micro/platform/proto/auth"
	configpb "github.com/micro/platform/proto/config"
	eventspb "github.com/micro/platform/proto/events"
	namespacespb "github.com/micro/platform/proto/namespaces"
	runtimepb "github.com/micro/platform/proto/runtime"
	storepb "github.com/micro/platform/proto/store"
	usagepb "github.com/micro/platform/proto/usage"
)

// Peers are the components that keep something of a namespace.
type Peers struct {
	Accounts authpb.AccountsClient
	Audit    auditpb.AuditClient
	Blobs    storepb.BlobStoreClient
	Config   configpb.ConfigClient
	Events   eventspb.StoreClient
	Groups   eventspb.GroupsClient
	Members  namespacespb.MembersClient
	Plans    namespacespb.PlansClient
	Rules    authpb.RulesClient
	Runtime  runtimepb.ComponentsClient
	Store    storepb.StoreClient
	Topics   eventspb.TopicsClient
	Usage    usagepb.UsageClient
}

// Connect makes Peers of connections to components, by their names.
func Connect(conn func(component string) (*grpc.ClientConn, error)) (Peers, error) {
	conns := map[string]*grpc.ClientConn{}
	for _, name := range []string{"audit", "auth", "config", "events", "namespaces", "runtime", "store", "usage"} {
		c, err := conn(name)
		if err != nil {
			return Peers{}, err
		}
		conns[name] = c
	}
	return Peers{
		Accounts: authpb.NewAccountsClient(conns["auth"]),
		Audit:    auditpb.NewAuditClient(conns["audit"]),
		Blobs:    storepb.NewBlobStoreClient(conns["store"]),
		Config:   configpb.NewConfigClient(conns["config"]),
		Events:   eventspb.NewStoreClient(conns["events"]),
		Groups:   eventspb.NewGroupsClient(conns["events"]),
		Members:  namespacespb.NewMembersClient(conns["namespaces"]),
		Plans:    namespacespb.NewPlansClient(conns["namespaces"]),
		Rules:    authpb.NewRulesClient(conns["auth"]),
		Runtime:  runtimepb.NewComponentsClient(conns["runtime"]),
		Store:    storepb.NewStoreClient(conns["store"]),
		Topics:   eventspb.NewTopicsClient(conns["events"]),
		Usage:    usagepb.NewUsageClient(conns["usage"]),
	}, nil
}

// Request is what to export.
type Request struct {
	Namespace string
	// Passphrase seals the secrets; empty leaves them out.
	Passphrase string
	// Server is the version of the server.
	Server string
	Now    time.Time
	// Progress hears of the part that is being written.
	Progress func(part string, records int64)
}

// exporter writes one archive.
type exporter struct {
	Peers
	Request

	w      *archive.Writer
	sealer *archive.Sealer // nil without a passphrase
	part   *archive.PartWriter
}

// Export writes the archive of a namespace.
func (p Peers) Export(ctx context.Context, req Request, out io.Writer) error {
	ctx = identity.AsComponent(ctx)
	about := archive.About{Namespace: req.Namespace, Created: req.Now, Server: req.Server}
	e := &exporter{Peers: p, Request: req}
	if req.Passphrase != "" {
		about.Sealed = archive.NewSealed()
		var err error
		if e.sealer, err = about.Sealed.Sealer(req.Passphrase); err != nil {
			return err
		}
	}
	var err error
	if e.w, err = archive.NewWriter(out, about); err != nil {
		return err
	}
	for _, part := range []struct {
		what  string
		write func(context.Context) error
	}{ // services are last: what they need is there by then
		{"the plan", e.plan}, {"members", e.people}, {"accounts", e.logins}, {"rules", e.ruleBook},
		{"config", e.settings}, {"the history of the config", e.configHistory}, {"records", e.records}, {"blobs", e.blob},
		{"events", e.topics}, {"usage", e.used}, {"the audit log", e.log}, {"services", e.deployed},
	} {
		if err := part.write(ctx); err != nil {
			return fmt.Errorf("export %s of %s: %w", part.what, req.Namespace, err)
		}
	}
	return e.w.Close()
}

// begin begins a part.
func (e *exporter) begin(kind archive.Kind, of string) error {
	var err error
	if e.part, err = e.w.Part(kind, of); err == nil {
		e.Progress(e.part.Name(), 0)
	}
	return err
}

// add adds a record to the part.
func (e *exporter) add(record any) error {
	err := e.part.Add(record)
	if n := e.part.Records(); n%progressEvery == 0 {
		e.Progress(e.part.Name(), n)
	}
	return err
}

// progressEvery is how many records are written between two words about it.
const progressEvery = 10_000
