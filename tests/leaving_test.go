package tests

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/archive"
	authpb "github.com/micro/platform/proto/auth"
	configpb "github.com/micro/platform/proto/config"
	eventspb "github.com/micro/platform/proto/events"
	namespacespb "github.com/micro/platform/proto/namespaces"
	storepb "github.com/micro/platform/proto/store"
	"github.com/micro/platform/tests/platform"
)

// mover is a namespace that is filled, looked at and moved.
type mover struct {
	t    *testing.T
	x    *platform.Person
	conn *grpc.ClientConn
	ctx  context.Context // with the token
}

// enter makes somebody's calls come from one of their namespaces.
func enter(t *testing.T, p *platform.Platform, x *platform.Person, namespace string) mover {
	t.Helper()
	token, err := sh(t.Context(), x, "micro namespace set "+namespace+" && micro user token")
	if err != nil {
		t.Fatal(token, err)
	}
	conn, err := grpc.NewClient(p.Proxy, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	lines := strings.Fields(token)
	return mover{t, x, conn, metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+lines[len(lines)-1])}
}

func (m mover) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// bytes are some that are text, and some that are not.
func randomBytes(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = byte(r.UintN(256))
	}
	if r.IntN(2) == 0 {
		return []byte(fmt.Sprintf("text %x \"<ü>\" \u2028", b))
	}
	return b
}

// names have what file systems and tars stumble over.
var names = []string{"plain", "../up", "/etc/passwd", "grüße/welt", "a b\u200bc", strings.Repeat("lang", 30), "..", "x.dead"}

// fill puts something of everything into the namespace.
func (m mover) fill(seed uint64) {
	m.t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	store, blobs, events := storepb.NewStoreClient(m.conn), storepb.NewBlobStoreClient(m.conn), eventspb.NewStreamClient(m.conn)
	for _, table := range names {
		req := &storepb.BatchRequest{Table: table}
		for i := range 40 {
			rec := &storepb.Record{Key: fmt.Sprintf("%s\x01%d", table, i), Value: randomBytes(r, 300), Metadata: map[string]*storepb.Field{}}
			if i%3 == 0 {
				rec.ExpiryMs = 3_600_000 + int64(r.IntN(1000))
			}
			if i%4 == 0 {
				rec.Metadata["né"] = &storepb.Field{Type: "string", Value: "wert\x00"}
			}
			req.Changes = append(req.Changes, &storepb.Change{Record: rec})
		}
		_, err := store.Batch(m.ctx, req)
		m.must(err)
	}
	for i, n := range []int{0, 1, 64 << 10, 9 << 20} {
		s, err := blobs.Write(m.ctx)
		m.must(err)
		m.must(s.Send(&storepb.BlobWriteRequest{Key: names[i], Options: &storepb.BlobOptions{ContentType: "image/png", Public: i%2 == 0}}))
		data := make([]byte, n)
		for j := range data {
			data[j] = byte(r.Uint64())
		}
		for part := range slices.Chunk(data, 1<<20) {
			m.must(s.Send(&storepb.BlobWriteRequest{Blob: part}))
		}
		_, err = s.CloseAndRecv()
		m.must(err)
	}
	for _, topic := range names {
		req := &eventspb.PublishBatchRequest{Topic: topic}
		for range 30 {
			req.Events = append(req.Events, &eventspb.Event{Payload: randomBytes(r, 200), Metadata: map[string]string{"ü": "\x00"}, Timestamp: 1_700_000_000})
		}
		rsp, err := events.PublishBatch(m.ctx, req)
		m.must(err)
		_, err = events.Restore(m.ctx, &eventspb.RestoreRequest{Topic: topic, Groups: []*eventspb.Group{{Name: "gruppe ü", Last: rsp.GetIds()[10]}, {Name: "new"}}})
		m.must(err)
	}
	config := configpb.NewConfigClient(m.conn)
	_, err := config.Set(m.ctx, &configpb.SetRequest{Value: &configpb.Value{Data: `{"db":{"url":"postgres://x","n":12345678901234567890,"list":[1,{"a":null}]},"ü":true}`}})
	m.must(err)
	_, err = config.Set(m.ctx, &configpb.SetRequest{Path: "db.password", Value: &configpb.Value{Data: `"hush"`}, Options: &configpb.Options{Secret: true}})
	m.must(err)
	_, err = authpb.NewRulesClient(m.conn).Create(m.ctx, &authpb.CreateRequest{Rule: &authpb.Rule{
		Id: "closed", Scope: "*", Access: authpb.Access_DENIED, Priority: 7, Resource: &authpb.Resource{Type: "service", Name: "notes", Endpoint: "*"}}})
	m.must(err)
}

// snapshot is all that a namespace has, but for what is new by nature: versions
// of records, and the marks of topics in ids.
func (m mover) snapshot() map[string]any {
	m.t.Helper()
	out := map[string]any{}
	tables, err := storepb.NewStoreClient(m.conn).Tables(m.ctx, &storepb.TablesRequest{})
	m.must(err)
	for _, table := range tables.GetTables() {
		rsp, err := storepb.NewStoreClient(m.conn).Read(m.ctx, &storepb.ReadRequest{Options: &storepb.ReadOptions{Table: table, Prefix: true}})
		m.must(err)
		for _, r := range rsp.GetRecords() {
			out["record "+table+" "+r.GetKey()] = []any{string(r.GetValue()), r.GetMetadata()["né"].GetValue(), r.GetExpiry() > 3000}
		}
	}
	blobs := storepb.NewBlobStoreClient(m.conn)
	list, err := blobs.List(m.ctx, &storepb.BlobListRequest{})
	m.must(err)
	for _, b := range list.GetBlobs() {
		s, err := blobs.Read(m.ctx, &storepb.BlobReadRequest{Key: b.GetKey()})
		m.must(err)
		sum := sha256.New()
		for {
			part, err := s.Recv()
			if err == io.EOF {
				break
			}
			m.must(err)
			sum.Write(part.GetBlob())
		}
		out["blob "+b.GetKey()] = []any{b.GetBytes(), b.GetContentType(), b.GetPublic(), fmt.Sprintf("%x", sum.Sum(nil))}
	}
	for _, topic := range names {
		rsp, err := eventspb.NewStoreClient(m.conn).Read(m.ctx, &eventspb.ReadRequest{Topic: topic})
		m.must(err)
		for i, e := range rsp.GetEvents() {
			out[fmt.Sprint("event ", topic, i)] = []any{unmarked(e.GetId()), string(e.GetPayload()), e.GetMetadata(), e.GetTimestamp()}
		}
		groups, err := eventspb.NewGroupsClient(m.conn).List(m.ctx, &eventspb.ListGroupsRequest{Topic: topic})
		m.must(err)
		for _, g := range groups.GetGroups() {
			out["group "+topic+" "+g.GetName()] = []any{unmarked(g.GetLast()), g.GetLag()}
		}
	}
	config, err := configpb.NewConfigClient(m.conn).Get(m.ctx, &configpb.GetRequest{Options: &configpb.Options{Secret: true}})
	m.must(err)
	hidden, err := configpb.NewConfigClient(m.conn).Get(m.ctx, &configpb.GetRequest{})
	m.must(err)
	out["config"] = config.GetValue().GetData() + hidden.GetValue().GetData()
	rules, err := authpb.NewRulesClient(m.conn).List(m.ctx, &authpb.ListRequest{})
	m.must(err)
	for _, r := range rules.GetRules() {
		out["rule "+r.GetId()] = r.String()
	}
	return out
}

// unmarked is an id without the mark of its topic.
func unmarked(id string) string {
	if i := strings.LastIndex(id, "-"); i >= 0 {
		return id[:i]
	}
	return id
}

func (m mover) micro(args ...string) (string, error) { return m.x.Micro(m.t.Context(), "", args...) }

// TestLeaving moves a namespace with all it has into another one, and to another
// server.
func TestLeaving(t *testing.T) {
	t.Parallel()
	p := start(t, false)
	jane := person(t, p, "jane")
	home := enter(t, p, jane, "jane-space")
	home.fill(uint64(time.Now().UnixNano()))
	before := home.snapshot()
	home.must(os.WriteFile(filepath.Join(jane.Home, "secret"), []byte("correct horse battery\n"), 0o600))
	if out, err := home.micro("namespace", "export", "-o", "a.tar.gz", "--secrets", "--passphrase-file", "secret"); err != nil {
		t.Fatal(out, err)
	}
	if diff := cmp.Diff(before, home.snapshot()); diff != "" {
		t.Fatalf("the export changed something: %s", diff)
	}

	t.Run("others", func(t *testing.T) {
		mallory := enter(t, p, person(t, p, "mallory"), "mallory-space")
		s, err := namespacespb.NewArchivesClient(mallory.conn).Export(mallory.ctx, &namespacespb.ExportRequest{Namespace: "jane-space"})
		if err == nil {
			_, err = s.Recv()
		}
		if errors.Code(err) != codes.PermissionDenied {
			t.Errorf("Export by another = %v", err)
		}
		digest := strings.Repeat("0", 64)
		_, err1 := namespacespb.NewArchivesClient(mallory.conn).BeginImport(mallory.ctx, &namespacespb.BeginImportRequest{Namespace: "jane-space", Digest: digest})
		_, err2 := namespacespb.NewArchivesClient(mallory.conn).EndImport(mallory.ctx, &namespacespb.EndImportRequest{Namespace: "jane-space", Digest: digest})
		_, err3 := namespacespb.NewImportsClient(mallory.conn).Advance(mallory.ctx, &namespacespb.AdvanceRequest{Namespace: "jane-space", Digest: digest, Part: "x"})
		for _, err := range []error{err1, err2, err3} {
			if errors.Code(err) != codes.PermissionDenied {
				t.Errorf("an import by another = %v", err)
			}
		}
	})
	t.Run("what exists", func(t *testing.T) {
		out, err := home.micro("namespace", "import", "a.tar.gz")
		if err == nil || !strings.Contains(out, "table plain") || !strings.Contains(out, "--overwrite") {
			t.Errorf("an import over what exists = %v: %s", err, out)
		}
	})
	t.Run("another namespace", func(t *testing.T) {
		if out, err := home.micro("namespace", "create", "jane-copy"); err != nil {
			t.Fatal(out, err)
		}
		enter(t, p, jane, "jane-space")
		if out, err := home.micro("namespace", "import", "a.tar.gz", "--into", "jane-copy", "--secrets", "--passphrase-file", "secret"); err != nil {
			t.Fatal(out, err)
		} else if !strings.Contains(out, "micro namespace invite jane@example.com --role owner") {
			t.Errorf("the import does not say how members are invited: %s", out)
		}
		if diff := cmp.Diff(before, enter(t, p, jane, "jane-copy").snapshot()); diff != "" {
			t.Errorf("the copy differs: %s", diff)
		}
		if out, err := home.micro("namespace", "import", "a.tar.gz", "--overwrite", "--secrets", "--passphrase-file", "secret"); err != nil {
			t.Fatal(out, err)
		}
		if diff := cmp.Diff(before, enter(t, p, jane, "jane-copy").snapshot()); diff != "" {
			t.Errorf("the copy differs after it was overwritten: %s", diff)
		}
	})
	t.Run("a plan that is too small", func(t *testing.T) {
		root, err := p.Person(t.Context(), "root")
		home.must(err)
		line := "micro login --username admin --password micro && micro admin plan set jane-tiny free --limit keys=100 --limit topics=2"
		if out, err := home.micro("namespace", "create", "jane-tiny"); err != nil {
			t.Fatal(out, err)
		}
		if out, err := sh(t.Context(), root, line); err != nil {
			t.Fatal(out, err)
		}
		out, err := home.micro("namespace", "import", "a.tar.gz")
		for _, want := range []string{"limit keys: 100 are possible on plan free, and there would be 320", "limit topics: 2 are possible on plan free, and there would be 7"} {
			if err == nil || !strings.Contains(out, want) {
				t.Errorf("the import does not say %q: %v: %s", want, err, out)
			}
		}
		if n := enter(t, p, jane, "jane-tiny").keys(); n != 0 {
			t.Errorf("%d records were imported", n)
		}
	})
	t.Run("HTTP", func(t *testing.T) {
		m := enter(t, p, jane, "jane-space")
		token, err := sh(t.Context(), jane, "micro user token")
		home.must(err)
		for _, tt := range []struct {
			namespace string
			want      int
		}{{"jane-space", http.StatusOK}, {"mallory-space", http.StatusForbidden}} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.API+"/platform/v1/namespaces/"+tt.namespace+"/export", nil)
			m.must(err)
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
			rsp, err := http.DefaultClient.Do(req)
			m.must(err)
			defer rsp.Body.Close()
			if rsp.StatusCode != tt.want {
				t.Errorf("GET of %s = %s", tt.namespace, rsp.Status)
			}
			if tt.want != http.StatusOK {
				continue
			}
			if a, _, err := archive.Check(rsp.Body); err != nil || a.Namespace != "jane-space" || a.Sealed != nil {
				t.Errorf("the download is %+v, %v", a.About, err)
			}
		}
	})
	t.Run("deleted", func(t *testing.T) {
		there := enter(t, p, jane, "jane-copy")
		_, err := namespacespb.NewNamespacesClient(there.conn).Delete(there.ctx, &namespacespb.DeleteNamespaceRequest{Namespace: "jane-copy", Confirm: "jane-copy"})
		home.must(err)
		if out, err := there.micro("namespace", "export", "-o", "late.tar.gz"); err != nil {
			t.Errorf("the export of a namespace that is deleted = %v: %s", err, out)
		}
		if out, err := there.micro("namespace", "import", "late.tar.gz", "--dry-run"); err == nil {
			t.Errorf("a namespace that is deleted takes an import: %s", out)
		}
		enter(t, p, jane, "jane-space")
	})
	t.Run("another server", func(t *testing.T) {
		other := start(t, false)
		x := person(t, other, "jane")
		b, err := os.ReadFile(filepath.Join(jane.Home, "a.tar.gz"))
		home.must(err)
		home.must(os.WriteFile(filepath.Join(x.Home, "cut.tar.gz"), b[:len(b)-100], 0o600))
		home.must(os.WriteFile(filepath.Join(x.Home, "a.tar.gz"), b, 0o600))
		home.must(os.WriteFile(filepath.Join(x.Home, "secret"), []byte("correct horse battery"), 0o600))
		home.must(os.WriteFile(filepath.Join(x.Home, "wrong"), []byte("wrong horse battery"), 0o600))
		there := enter(t, other, x, "jane-space")
		for _, tt := range []struct {
			args []string
			want string
		}{
			{[]string{"cut.tar.gz"}, "cut off"},
			{[]string{"a.tar.gz", "--secrets", "--passphrase-file", "wrong"}, "passphrase"},
			{[]string{"a.tar.gz", "--only", "stor"}, "store"},
		} {
			if out, err := there.micro(append([]string{"namespace", "import"}, tt.args...)...); err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("import %v = %v: %s", tt.args, err, out)
			}
		}
		if out, err := there.micro("namespace", "import", "a.tar.gz", "--dry-run"); err != nil || !strings.Contains(out, "grüße/welt") {
			t.Errorf("--dry-run = %v: %s", err, out)
		}
		usage, err := storepb.NewStoreClient(there.conn).Usage(there.ctx, &storepb.UsageRequest{})
		home.must(err)
		if used := usage.GetLimits()[0].GetUsed(); used != 0 {
			t.Fatalf("%d keys were written by what was refused", used)
		}
		if out, err := there.micro("namespace", "import", "a.tar.gz", "--secrets", "--passphrase-file", "secret"); err != nil {
			t.Fatal(out, err)
		}
		if diff := cmp.Diff(before, there.snapshot()); diff != "" {
			t.Errorf("the other server differs: %s", diff)
		}
	})
}

// TestImportGoesOn kills the server in the middle of an import: the same import
// goes on from there.
func TestImportGoesOn(t *testing.T) {
	t.Parallel()
	p := start(t, false)
	jane := person(t, p, "jane")
	home := enter(t, p, jane, "jane-space")
	const records = 20_000
	for n := 0; n < records; n += 500 {
		req := &storepb.BatchRequest{Table: "orders"}
		for i := range 500 {
			req.Changes = append(req.Changes, &storepb.Change{Record: &storepb.Record{Key: fmt.Sprintf("%08d", n+i), Value: []byte(fmt.Sprint(n + i))}})
		}
		_, err := storepb.NewStoreClient(home.conn).Batch(home.ctx, req)
		home.must(err)
	}
	if out, err := home.micro("namespace", "export", "-o", "a.tar.gz"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := home.micro("namespace", "create", "jane-copy"); err != nil {
		t.Fatal(out, err)
	}
	there := enter(t, p, jane, "jane-copy")
	cmd := jane.Command(t.Context(), micro, "namespace", "import", "a.tar.gz")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	home.must(cmd.Start())
	for deadline := time.Now().Add(time.Minute); there.keys() < 1000; {
		if time.Now().After(deadline) {
			t.Fatal("the import has not begun")
		}
	}
	for name := range p.Processes() {
		p.Kill(name)
	}
	cmd.Process.Kill() //nolint:errcheck // it may have ended
	cmd.Wait()         //nolint:errcheck // as it was killed
	home.must(p.Restart(t.Context()))
	if n := there.keys(); n >= records {
		t.Fatalf("all %d records were there before the cut", n)
	}
	if out, err := home.micro("namespace", "import", "a.tar.gz"); err != nil {
		t.Fatal(out, err)
	}
	if n := there.keys(); n != records {
		t.Errorf("%d records are there, want %d", n, records)
	}
	rsp, err := storepb.NewStoreClient(there.conn).Read(there.ctx, &storepb.ReadRequest{Key: "00019999", Options: &storepb.ReadOptions{Table: "orders"}})
	if err != nil || string(rsp.GetRecords()[0].GetValue()) != "19999" {
		t.Errorf("the last record is %v, %v", rsp, err)
	}
}

// keys is how many records the namespace has; 0 while nobody answers.
func (m mover) keys() int64 {
	rsp, err := storepb.NewStoreClient(m.conn).Tables(m.ctx, &storepb.TablesRequest{})
	if err != nil {
		return 0
	}
	var n int64
	for _, d := range rsp.GetDetails() {
		n += d.GetKeys()
	}
	return n
}
