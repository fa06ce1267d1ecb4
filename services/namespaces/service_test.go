package namespaces

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/inbox"
	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/mailbox"
	"github.com/micro/platform/internal/password"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/settings"
	authpb "github.com/micro/platform/proto/auth"
	namespacespb "github.com/micro/platform/proto/namespaces"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// owners is auth, as far as this service knows it.
type owners struct {
	authpb.ComponentsClient

	mu       sync.Mutex
	made     map[string]*authpb.CreateOwnerRequest // by namespace
	members  []*authpb.SetMemberRequest
	policies []*authpb.SetPolicyRequest
	err      error // what the next calls answer
	lose     bool  // the account is made, the answer lost
}

func (o *owners) CreateOwner(ctx context.Context, req *authpb.CreateOwnerRequest, _ ...grpc.CallOption) (*authpb.CreateOwnerResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !identity.CallsAsComponent(ctx) {
		return nil, errors.New(codes.PermissionDenied, "for components only")
	}
	if o.err != nil && !o.lose {
		return nil, o.err
	}
	if o.made[req.GetNamespace()] == nil {
		o.made[req.GetNamespace()] = req
	}
	return &authpb.CreateOwnerResponse{}, o.err
}

func (o *owners) SetMember(_ context.Context, req *authpb.SetMemberRequest, _ ...grpc.CallOption) (*authpb.SetMemberResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil, o.err
	}
	o.members = append(o.members, req)
	return &authpb.SetMemberResponse{}, nil
}

func (o *owners) SetPolicy(_ context.Context, req *authpb.SetPolicyRequest, _ ...grpc.CallOption) (*authpb.SetPolicyResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.policies = append(o.policies, req)
	return &authpb.SetPolicyResponse{}, nil
}

// ProvePerson takes everybody who has a namespace for a person, with the
// password of these tests.
func (o *owners) ProvePerson(_ context.Context, req *authpb.ProvePersonRequest, _ ...grpc.CallOption) (*authpb.ProvePersonResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, made := range o.made {
		if made.GetMailbox() == req.GetMailbox() {
			return &authpb.ProvePersonResponse{Known: true, Proven: req.GetPassword() == "correct horse"}, nil
		}
	}
	return &authpb.ProvePersonResponse{}, nil
}

// told answers the last order about an account, or nil.
func (o *owners) told(account string) *authpb.SetMemberRequest {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range slices.Backward(o.members) {
		if m.GetAccount() == account {
			return m
		}
	}
	return nil
}

func (o *owners) answer(err error, lose bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err, o.lose = err, lose
}

// bundle is a service with all it stands on.
type bundle struct {
	*Service
	pool   *pgxpool.Pool
	owners *owners
	inbox  *inbox.Inbox
	redis  redis.UniversalClient
	secret settings.Secret
}

func setup(t *testing.T) *bundle {
	t.Helper()
	// A secret of its own keeps the counters of tests apart in one Redis.
	b := &bundle{pool: pgtest.New(t, "namespaces"), owners: &owners{made: map[string]*authpb.CreateOwnerRequest{}}, secret: settings.Secret(rand.Text() + rand.Text())}
	b.Service = b.start(t)
	return b
}

// start makes a service, as a process that starts would, with an inbox behind
// it.
func (b *bundle) start(t *testing.T) *Service {
	t.Helper()
	b.inbox, b.redis = inbox.New(time.Now), redistest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := b.inbox.SMTP(slog.New(slog.DiscardHandler))
	sender, err := mail.NewSender(mail.Server{Address: l.Addr().String(), From: "Micro <micro@localhost>"})
	if err != nil {
		t.Fatal(err)
	}
	q, err := mail.NewOutbox(b.pool, "namespaces", seal.Cluster{Secret: b.secret}, sender, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { server.Serve(l) }) //nolint:errcheck // it ends when it is closed
	running.Go(func() { q.Run(ctx) })      //nolint:errcheck // it fails where the mail does not come
	t.Cleanup(func() {
		cancel()
		server.Close() //nolint:errcheck // it ends either way
		l.Close()      // the server may not have seen it yet
		running.Wait()
	})
	s, err := New(Stores{b.pool, b.redis}, b.owners, q, pepper(b.secret), slog.New(slog.DiscardHandler), Options{Retry: time.Second, Plan: "local", PerPerson: 3, Undo: 336 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// letter waits until there are so many mails to an address, and answers the
// newest.
func (b *bundle) letter(t *testing.T, to string, n int) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(2 * time.Millisecond) {
		if all := b.inbox.Messages(to); len(all) >= n {
			return all[0].Text
		}
	}
	t.Fatalf("there are not %d mails to %s", n, to)
	return ""
}

var codeLine = regexp.MustCompile(`(?m)^\s*([A-Z0-9]{8})\s*$`)

// begin asks for a code and reads it in the mail.
func (b *bundle) begin(t *testing.T, email string) string {
	t.Helper()
	to := strings.ToLower(email)
	before := len(b.inbox.Messages(to))
	if _, err := b.Begin(t.Context(), &namespacespb.BeginRequest{Email: email}); err != nil {
		t.Fatal(err)
	}
	text := b.letter(t, to, before+1)
	m := codeLine.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no code in the mail:\n%s", text)
	}
	return m[1]
}

func (b *bundle) complete(t *testing.T, email, code, name string) (*namespacespb.CompleteResponse, error) {
	t.Helper()
	return b.Complete(t.Context(), &namespacespb.CompleteRequest{Email: email, Code: code, Password: "correct horse", Namespace: name})
}

// signup goes all the way.
func (b *bundle) signup(t *testing.T, email, name string) *namespacespb.CompleteResponse {
	t.Helper()
	rsp, err := b.complete(t, email, b.begin(t, email), name)
	if err != nil {
		t.Fatal(err)
	}
	return rsp
}

// another lets a minute pass for an address.
func (b *bundle) another(t *testing.T, email string) {
	t.Helper()
	a, err := mailbox.Parse(email)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []abuse.Limit{mailMinute(a), askMinute(a, "")} {
		if err := b.limits.Forget(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
}

func as(t *testing.T, namespace string) context.Context {
	return identity.With(t.Context(), identity.Caller{ID: "x", Type: identity.User, Namespace: namespace, Scopes: []string{"admin"}})
}

// rows counts what a table holds.
func (b *bundle) rows(t *testing.T, table string) (n int) {
	t.Helper()
	if err := b.pool.QueryRow(t.Context(), "SELECT count(*) FROM namespaces."+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSignup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code := b.begin(t, "Jane.Doe+micro@Example.com")
	got, err := b.Verify(t.Context(), &namespacespb.VerifyRequest{Email: "jane.doe+micro@example.com", Code: strings.ToLower(code[:4]) + " " + code[4:]})
	if err != nil || got.GetProposal() != "jane-doe" {
		t.Fatalf("Verify = %v, %v; want the proposal jane-doe", got, err)
	}
	rsp, err := b.complete(t, "jane.doe+micro@example.com", code, "")
	if err != nil {
		t.Fatal(err)
	}
	if rsp.GetNamespace() != "jane-doe" || rsp.GetAccount() != "jane.doe+micro@example.com" {
		t.Errorf("Complete = %v", rsp)
	}
	owner := b.owners.made["jane-doe"]
	if ok, err := password.NewHasher().Match(t.Context(), "correct horse", owner.GetPasswordHash()); err != nil || !ok || owner.GetId() != rsp.GetAccount() {
		t.Errorf("owner = %v (%v)", owner, err)
	}
	n, err := b.Get(as(t, "jane-doe"), &namespacespb.GetRequest{})
	if err != nil || n.GetNamespace().GetOwner() != rsp.GetAccount() || n.GetNamespace().GetCreated() == 0 {
		t.Errorf("Get = %v, %v", n, err)
	}
	if b.rows(t, "codes") != 0 || b.rows(t, "outbox") != 0 {
		t.Error("a code or an order is left")
	}
	if _, err := b.complete(t, "jane.doe+micro@example.com", code, "again"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("Complete with a used code = %v, want InvalidArgument", err)
	}
}

// TestKnownAddress shows that only the owner's mailbox is told.
func TestKnownAddress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "jane@example.com", "jane-space")
	b.another(t, "jane@example.com")
	known, err1 := b.Begin(t.Context(), &namespacespb.BeginRequest{Email: "JANE+2@example.com"})
	unknown, err2 := b.Begin(t.Context(), &namespacespb.BeginRequest{Email: "joe@example.com"})
	if err1 != nil || err2 != nil || known.GetExpiresIn() != unknown.GetExpiresIn() {
		t.Errorf("Begin = %v, %v for a known address, %v, %v for an unknown one", known, err1, unknown, err2)
	}
	b.letter(t, "joe@example.com", 1)
	text := b.letter(t, "jane@example.com", 2)
	if codeLine.MatchString(text) || !strings.Contains(text, "jane-space") || !strings.Contains(text, "micro login") {
		t.Errorf("mail to a known address:\n%s", text)
	}
	if got := b.inbox.Messages("jane+2@example.com"); len(got) != 0 {
		t.Errorf("another spelling got %v", got)
	}
	_, err1 = b.Verify(t.Context(), &namespacespb.VerifyRequest{Email: "jane@example.com", Code: "AAAAAAAA"})
	_, err2 = b.Verify(t.Context(), &namespacespb.VerifyRequest{Email: "joe@example.com", Code: "AAAAAAAA"})
	_, err3 := b.Verify(t.Context(), &namespacespb.VerifyRequest{Email: "nobody@example.com", Code: "AAAAAAAA"})
	if err1 == nil || err1.Error() != err2.Error() || err2.Error() != err3.Error() {
		t.Errorf("Verify = %v, %v, %v; want the same three times", err1, err2, err3)
	}
}

// TestAttempts shows that five wrong attempts void a code, also when they are
// made at once, and that good ones do not count.
func TestAttempts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code := b.begin(t, "jane@example.com")
	verify := func(code string) error {
		_, err := b.Verify(t.Context(), &namespacespb.VerifyRequest{Email: "jane@example.com", Code: code})
		return err
	}
	for range 2 * maxAttempts {
		if err := verify(code); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for range maxAttempts - 1 {
		all.Go(func() { verify("AAAAAAAA") }) //nolint:errcheck // it is wrong
	}
	all.Wait()
	if err := verify(code); err != nil {
		t.Fatalf("after four wrong attempts: %v", err)
	}
	verify("AAAAAAAA") //nolint:errcheck // it is wrong
	if err := verify(code); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("after five wrong attempts: %v, want InvalidArgument", err)
	}
	if _, err := b.complete(t, "jane@example.com", code, "jane-space"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("Complete = %v, want InvalidArgument", err)
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code := b.begin(t, "jane+a@example.com")
	for _, tt := range []struct{ name, email, code string }{
		{"another spelling of the address", "jane@example.com", code},
		{"another address", "joe@example.com", code},
		{"too short", "jane+a@example.com", code[:7]},
		{"zero byte", "jane+a@example.com", code[:7] + "\x00"},
		{"endless", "jane+a@example.com", strings.Repeat(code, 1000)},
	} {
		if _, err := b.Verify(t.Context(), &namespacespb.VerifyRequest{Email: tt.email, Code: tt.code}); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want InvalidArgument", tt.name, err)
		}
	}
	if _, err := b.pool.Exec(t.Context(), "UPDATE namespaces.codes SET expires_at = now()"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(t.Context(), &namespacespb.VerifyRequest{Email: "jane+a@example.com", Code: code}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("expired: %v, want InvalidArgument", err)
	}
	if err := b.db.forgetCodes(t.Context()); err != nil || b.rows(t, "codes") != 0 {
		t.Errorf("expired codes are left (%v)", err)
	}
	b.another(t, "jane+a@example.com")
	if second := b.begin(t, "jane+a@example.com"); second == code {
		t.Error("the second code is the first")
	}
}

// TestCodesAreHashedAtRest shows that the database holds nothing to sign up
// with.
func TestCodesAreHashedAtRest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code := b.begin(t, "jane@example.com")
	var row string
	if err := b.pool.QueryRow(t.Context(), "SELECT codes::text || encode(digest, 'escape') FROM namespaces.codes").Scan(&row); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(row, code) {
		t.Errorf("the code is in the database: %s", row)
	}
}

func TestNameTaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "jane@example.com", "acme")
	code := b.begin(t, "joe@example.com")
	_, err := b.complete(t, "joe@example.com", code, "acme")
	if errors.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), `"acme-2" is free`) {
		t.Errorf("Complete = %v, want AlreadyExists with a proposal", err)
	}
	if rsp, err := b.complete(t, "joe@example.com", code, "acme-2"); err != nil || rsp.GetNamespace() != "acme-2" {
		t.Errorf("Complete = %v, %v: a name that was taken must not spend the code", rsp, err)
	}
}

// TestRaces shows that of many at once one wins, and the others leave nothing.
func TestRaces(t *testing.T) {
	t.Parallel()
	b := setup(t)
	count := func(errs []error) (won int) {
		for _, err := range errs {
			if err == nil {
				won++
			} else if c := errors.Code(err); c != codes.InvalidArgument && c != codes.AlreadyExists {
				t.Errorf("a loser got %v", err)
			}
		}
		return won
	}
	race := func(email, code func(i int) string, name func(i int) string) []error {
		errs := make([]error, 5)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				_, errs[i] = b.Complete(context.Background(), &namespacespb.CompleteRequest{Email: email(i), Code: code(i), Password: "correct horse", Namespace: name(i)})
			})
		}
		all.Wait()
		return errs
	}
	code := b.begin(t, "jane@example.com")
	errs := race(func(int) string { return "jane@example.com" }, func(int) string { return code }, func(i int) string { return fmt.Sprintf("jane-%d", i) })
	if got := count(errs); got != 1 || b.rows(t, "namespaces") != 1 {
		t.Errorf("%d of one code won, %d namespaces: %v", got, b.rows(t, "namespaces"), errs)
	}
	sent := make([]string, 5)
	for i := range sent {
		sent[i] = b.begin(t, fmt.Sprintf("p%d@example.com", i))
	}
	errs = race(func(i int) string { return fmt.Sprintf("p%d@example.com", i) }, func(i int) string { return sent[i] }, func(int) string { return "wanted" })
	if got := count(errs); got != 1 || b.rows(t, "namespaces") != 2 || b.rows(t, "codes") != 4 {
		t.Errorf("%d of one name won, %d namespaces, %d codes: %v", got, b.rows(t, "namespaces"), b.rows(t, "codes"), errs)
	}
}

// TestCrashBeforeTheOwner shows that a namespace gets its owner whatever
// happens after the commit.
func TestCrashBeforeTheOwner(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lose bool
	}{{"auth is away", false}, {"auth's answer is lost", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.owners.answer(errors.New(codes.Unavailable, "away"), tt.lose)
			_, err := b.complete(t, "jane@example.com", b.begin(t, "jane@example.com"), "jane-space")
			if errors.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "log in") {
				t.Fatalf("Complete = %v, want Unavailable and what to do", err)
			}
			get := func() error {
				_, err := b.Get(as(t, "jane-space"), &namespacespb.GetRequest{})
				return err
			}
			if err := get(); errors.Code(err) != codes.NotFound {
				t.Errorf("Get = %v, want NotFound until there is an owner", err)
			}
			b.owners.answer(nil, false)
			b.Service = b.start(t) // a new process
			if _, err := b.pool.Exec(t.Context(), "UPDATE namespaces.outbox SET next_at = now()"); err != nil {
				t.Fatal(err)
			}
			if err := b.carryOutDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := get(); err != nil {
				t.Error(err)
			}
			if b.owners.made["jane-space"] == nil || b.rows(t, "outbox") != 0 {
				t.Error("the owner is not made, or the order is left")
			}
		})
	}
}

// TestOwnerElsewhere shows that a namespace whose owner cannot be made is not
// left behind.
func TestOwnerElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.owners.answer(errors.New(codes.AlreadyExists, "owns another"), false)
	_, err := b.complete(t, "jane@example.com", b.begin(t, "jane@example.com"), "jane-space")
	if errors.Code(err) != codes.AlreadyExists || b.rows(t, "namespaces") != 0 || b.rows(t, "outbox") != 0 {
		t.Errorf("Complete = %v with %d namespaces, want AlreadyExists and none", err, b.rows(t, "namespaces"))
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	b := setup(t)
	code := b.begin(t, "jane@example.com")
	for _, tt := range []struct {
		name, password, namespace string
	}{
		{"short password", "1234567", "jane-space"},
		{"long password", strings.Repeat("a", 257), "jane-space"},
		{"password is the address", "Jane@example.com", "jane-space"},
		{"upper case", "correct horse", "Jane"},
		{"too short a name", "correct horse", "ja"},
		{"reserved", "correct horse", "admin"},
	} {
		_, err := b.Complete(t.Context(), &namespacespb.CompleteRequest{Email: "jane@example.com", Code: code, Password: tt.password, Namespace: tt.namespace})
		if errors.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want InvalidArgument", tt.name, err)
		}
	}
	if _, err := b.complete(t, "jane@example.com", code, "jane-space"); err != nil {
		t.Errorf("bad input has spent the code: %v", err)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "jane@example.com", "jane-space")
	operator := as(t, identity.Platform)
	for _, tt := range []struct {
		name string
		ctx  context.Context
		id   string
		want codes.Code
	}{
		{"own", as(t, "jane-space"), "", codes.OK},
		{"own by name", as(t, "jane-space"), "jane-space", codes.OK},
		{"another's", as(t, "joe-space"), "jane-space", codes.PermissionDenied},
		{"nobody's", as(t, "joe-space"), "nobody", codes.PermissionDenied},
		{"by an operator", operator, "jane-space", codes.OK},
		{"nobody's, by an operator", operator, "nobody", codes.NotFound},
		{"zero byte, by an operator", operator, "a\x00", codes.NotFound},
		{"the operators' own", operator, "", codes.OK},
		{"anonymous", t.Context(), "", codes.Unauthenticated},
	} {
		if _, err := b.Get(tt.ctx, &namespacespb.GetRequest{Namespace: tt.id}); errors.Code(err) != tt.want {
			t.Errorf("%s: Get = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	from := func(address string) context.Context {
		return metadata.NewIncomingContext(t.Context(), metadata.Pairs("micro-client-address", address))
	}
	begin := func(ctx context.Context, email string) error {
		_, err := b.Begin(ctx, &namespacespb.BeginRequest{Email: email})
		return err
	}
	if err := begin(from("203.0.113.7"), "jane@example.com"); err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{"jane@example.com", "Jane+x@example.com"} {
		if err := begin(from("203.0.113.7"), again); errors.Code(err) != codes.ResourceExhausted {
			t.Errorf("%s within a minute: %v, want ResourceExhausted", again, err)
		}
	}
	for range 4 {
		b.another(t, "jane@example.com")
		if err := begin(t.Context(), "jane@example.com"); err != nil {
			t.Fatal(err)
		}
	}
	b.another(t, "jane@example.com")
	if err := begin(t.Context(), "jane@example.com"); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("sixth mail of a day: %v, want ResourceExhausted", err)
	}
	for i := range 19 { // what was refused does not count
		if err := begin(from("203.0.113.7"), fmt.Sprintf("p%d@example.com", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := begin(from("203.0.113.7"), "last@example.com"); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("21st mail from one address: %v, want ResourceExhausted", err)
	}
	if err := begin(from("203.0.113.8"), "last@example.com"); err != nil {
		t.Errorf("a refusal by source has used up the address: %v", err)
	}
	for i := range 21 {
		_, err := b.Verify(from("2001:db8::"+fmt.Sprint(i+1)), &namespacespb.VerifyRequest{Email: "x@example.com", Code: "AAAAAAAA"})
		if want := map[bool]codes.Code{true: codes.InvalidArgument, false: codes.ResourceExhausted}[i < 20]; errors.Code(err) != want {
			t.Errorf("attempt %d of one network: %v, want %v", i+1, err, want)
		}
	}
}

// TestStrangersCannotDenySignup shows that neither requests nor guesses from
// many networks keep somebody from signing up, or fill a mailbox.
func TestStrangersCannotDenySignup(t *testing.T) {
	t.Parallel()
	b := setup(t)
	from := func(i int) context.Context {
		return metadata.NewIncomingContext(t.Context(), metadata.Pairs("micro-client-address", fmt.Sprintf("198.51.%d.1", i)))
	}
	const email = "jane@example.com"
	if _, err := b.Begin(from(0), &namespacespb.BeginRequest{Email: email}); err != nil {
		t.Fatal(err)
	}
	b.letter(t, email, 1)
	mine := from(1)
	if _, err := b.Begin(mine, &namespacespb.BeginRequest{Email: email}); err != nil {
		t.Errorf("a moment after a stranger: %v", err)
	}
	code := codeLine.FindStringSubmatch(b.letter(t, email, 1))[1]
	for i := range 3 * maxAttempts {
		if _, err := b.Verify(from(2+i%3), &namespacespb.VerifyRequest{Email: email, Code: "AAAAAAAA"}); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("a guess: %v", err)
		}
	}
	if _, err := b.Verify(mine, &namespacespb.VerifyRequest{Email: email, Code: code}); err != nil {
		t.Errorf("the code after others have guessed: %v", err)
	}
	for i := range 10 {
		b.another(t, email)
		if _, err := b.Begin(from(10+i), &namespacespb.BeginRequest{Email: email}); err != nil && errors.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
	}
	b.letter(t, email, 5)
	if n := len(b.inbox.Messages(email)); n != 5 {
		t.Errorf("%d mails to one address, want 5", n)
	}
}

// TestDomains shows the limits of a mail domain, and that domains whose mailboxes
// are thrown away are refused alike whether an address is known.
func TestDomains(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.signup(t, "jane@lasting.example", "jane-space")
	b.throwaway = domains{"lasting.example": true}
	b.limits.perDomain = 3
	var answers []string
	for _, email := range []string{"jane@lasting.example", "joe@lasting.example"} {
		_, err := b.Begin(t.Context(), &namespacespb.BeginRequest{Email: email})
		answers = append(answers, fmt.Sprint(errors.Code(err), err))
	}
	if answers[0] != answers[1] || !strings.HasPrefix(answers[0], "InvalidArgument") {
		t.Errorf("a domain that is not accepted: %v", answers)
	}
	for i := range 8 {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("micro-client-address", fmt.Sprintf("198.51.%d.1", i)))
		_, own := b.Begin(ctx, &namespacespb.BeginRequest{Email: fmt.Sprintf("p%d@own.example", i)})
		_, large := b.Begin(ctx, &namespacespb.BeginRequest{Email: fmt.Sprintf("p%d@gmail.com", i)})
		if (errors.Code(own) == codes.ResourceExhausted) != (i >= 3) || large != nil {
			t.Errorf("%d: %v for a domain of one's own, %v for a large one", i, own, large)
		}
	}
}

// TestRedisAway shows that sign-up refuses rather than goes without limits.
func TestRedisAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.redis.Close()
	if _, err := b.Begin(t.Context(), &namespacespb.BeginRequest{Email: "jane@example.com"}); errors.Code(err) != codes.Unavailable {
		t.Errorf("Begin = %v, want Unavailable", err)
	}
}
