package auth

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/rpc"
	"github.com/micro/platform/internal/seal"
	authpb "github.com/micro/platform/proto/auth"
)

var codeLine = regexp.MustCompile(`(?m)^\s*([A-Z2-7]{8})\s*$`)

// beginReset asks for a code and reads it in the mail.
func (p *platform) beginReset(t testing.TB, id string) string {
	t.Helper()
	if _, err := p.passwords.BeginReset(t.Context(), &authpb.BeginResetRequest{Id: id}); err != nil {
		t.Fatal(err)
	}
	var code string
	eventually(t, "the mail with the code", func() bool {
		all := p.inbox.Messages(strings.ToLower(id))
		if len(all) == 0 {
			return false
		}
		if m := codeLine.FindStringSubmatch(all[0].Text); m != nil {
			code = m[1]
		}
		return code != ""
	})
	return code
}

func (p *platform) reset(t testing.TB, id, code, secret string) error {
	t.Helper()
	_, err := p.passwords.Reset(t.Context(), &authpb.ResetRequest{Id: id, Code: code, NewSecret: secret})
	return err
}

func TestReset(t *testing.T) {
	t.Parallel()
	p := setup(t)
	before := p.login(t, "", p.owner, p.password)
	api := p.createToken(t, &authpb.CreateTokenRequest{Name: "ci", Grants: []string{"*:*:read"}})
	code := p.beginReset(t, strings.ToUpper(p.owner[:3])+p.owner[3:])
	for name, err := range map[string]error{
		"too short":     p.reset(t, p.owner, code, "short"),
		"their address": p.reset(t, p.owner, code, p.owner),
		"another code":  p.reset(t, p.owner, "AAAAAAAA", "another password"),
		"no code":       p.reset(t, p.owner, "", "another password"),
		"somebody else": p.reset(t, "other-"+p.owner, code, "another password"),
	} {
		if errors.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := p.reset(t, p.owner, strings.ToLower(code[:4])+" "+code[4:], "another password"); err != nil {
		t.Fatal(err)
	}
	if err := p.reset(t, p.owner, code, "a third password"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("the code a second time: %v", err)
	}
	p.login(t, "", p.owner, "another password")
	if _, err := p.auth.Token(t.Context(), &authpb.TokenRequest{Id: p.owner, Secret: p.password}); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("the old password: %v", err)
	}
	_, err := p.renew(t, before.GetRefreshToken())
	wantInvalid(t, "a login from before", err)
	eventually(t, "its access token is refused", func() bool { return p.refused(t, before.GetAccessToken()) })
	if _, err := p.exchange(t, api.GetSecret()); err != nil {
		t.Errorf("an API token from before: %v", err)
	}
}

func TestResetCodeEnds(t *testing.T) {
	t.Parallel()
	p := setup(t)
	code := p.beginReset(t, p.owner)
	for range resetTries {
		if err := p.reset(t, p.owner, "AAAAAAAA", "another password"); errors.Code(err) != codes.InvalidArgument {
			t.Fatal(err)
		}
	}
	if err := p.reset(t, p.owner, code, "another password"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("after %d wrong ones: %v", resetTries, err)
	}
	if _, err := p.passwords.BeginReset(t.Context(), &authpb.BeginResetRequest{Id: p.owner}); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("another code within a minute: %v", err)
	}
	p.exec(t, `UPDATE auth.password_resets SET attempts = 0, expires_at = now()`)
	if err := p.reset(t, p.owner, code, "another password"); errors.Code(err) != codes.InvalidArgument {
		t.Errorf("after its time: %v", err)
	}
	d := db{p.db}
	if err := d.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := p.db.QueryRow(t.Context(), `SELECT count(*) FROM auth.password_resets`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d codes are kept, %v", left, err)
	}
}

// TestResetTellsNothing compares what there is with what there is not: the
// answers, what is written, and about how long it takes.
func TestResetTellsNothing(t *testing.T) {
	t.Parallel()
	p := setup(t)
	p.generate(t, &authpb.GenerateRequest{Id: "bob"})
	const rounds = 15
	took := map[string][]time.Duration{}
	for i := range rounds {
		for kind, id := range map[string]string{"known": p.owner, "unknown": "nobody-" + p.owner, "no address": "bob"} {
			// A network of its own, or the limits would tell them apart.
			ctx := from(t, rpc.Origin{Address: fmt.Sprintf("2001:db8:%x:%x::1", time.Now().UnixNano()>>16&0xffff, i)})
			p.forgetResets(t, id)
			start := time.Now()
			begun, err := p.passwords.BeginReset(ctx, &authpb.BeginResetRequest{Id: id})
			took[kind] = append(took[kind], time.Since(start))
			if err != nil || begun.GetExpiresIn() != 900 {
				t.Fatalf("%s: %v, %v", kind, begun, err)
			}
			_, err = p.passwords.Reset(ctx, &authpb.ResetRequest{Id: id, Code: "AAAAAAAA", NewSecret: "another password"})
			if e := errors.FromError(err); e == nil || e.Detail != "the code is not valid or has expired" {
				t.Errorf("%s: Reset = %v", kind, err)
			}
		}
	}
	median := func(all []time.Duration) time.Duration { slices.Sort(all); return all[len(all)/2] }
	known := median(took["known"])
	for kind, all := range took {
		if m := median(all); m > 3*known+5*time.Millisecond || known > 3*m+5*time.Millisecond {
			t.Errorf("%s takes %v, known takes %v", kind, m, known)
		}
	}
	eventually(t, "the mail to the known address", func() bool { return len(p.inbox.Messages(p.owner)) > 0 })
	for _, id := range []string{"nobody-" + p.owner, "bob"} {
		if len(p.inbox.Messages(id)) != 0 {
			t.Errorf("mail was sent to %s", id)
		}
	}
}

// resets is as auth has it.
func (p *platform) resets(t testing.TB) resets {
	t.Helper()
	key, err := seal.MACKey(t.Context(), p.db, seal.Cluster{Secret: pgtest.Secret}, "auth", resetKey)
	if err != nil {
		t.Fatal(err)
	}
	return newResets(p.redis, key)
}

// forgetResets lets a day pass for what was typed.
func (p *platform) forgetResets(t testing.TB, id string) {
	t.Helper()
	r := p.resets(t)
	who := subject{"micro", id}
	for _, l := range append(asks(who, ""), mailMinute(who), mailDay(who, "", false), mailEverybody()) {
		if err := r.Forget(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStrangersCannotDenyReset shows that requests and guesses from many
// networks neither keep the owner from a code nor fill a mailbox.
func TestStrangersCannotDenyReset(t *testing.T) {
	t.Parallel()
	p := setup(t)
	home := from(t, rpc.Origin{Address: "203.0.113.9"})
	if _, err := p.auth.Token(home, &authpb.TokenRequest{Id: p.owner, Secret: p.password}); err != nil {
		t.Fatal(err)
	}
	who := subject{"micro", strings.ToLower(p.owner)}
	r := p.resets(t)
	nextMinute := func() {
		if err := r.Forget(t.Context(), mailMinute(who)); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(ctx context.Context) error {
		_, err := p.passwords.BeginReset(ctx, &authpb.BeginResetRequest{Id: p.owner})
		return err
	}
	stranger := func(i int) context.Context {
		return from(t, rpc.Origin{Address: fmt.Sprintf("2001:db8:%x:%x::1", time.Now().UnixNano()>>16&0xffff, i)})
	}
	var refused int
	for i := range 3 * mailsADay {
		for range 2 { // the second one within the same minute: no mail, no error
			if err := ask(stranger(2 * i)); errors.Code(err) == codes.ResourceExhausted {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		nextMinute()
	}
	eventually(t, "the mails that strangers asked for", func() bool { return len(p.inbox.Messages(p.owner)) >= mailsADay })
	before := len(p.inbox.Messages(p.owner))
	if before != mailsADay || refused == 0 {
		t.Errorf("strangers had %d mails sent to one address, %d refused; want %d mails", before, refused, mailsADay)
	}
	if err := ask(home); err != nil {
		t.Fatalf("the owner, from where they log in: %v", err)
	}
	eventually(t, "the owner's mail", func() bool { return len(p.inbox.Messages(p.owner)) > before })
	code := codeLine.FindStringSubmatch(p.inbox.Messages(p.owner)[0].Text)[1]
	for i := range 3 * resetTries {
		_, err := p.passwords.Reset(stranger(1000+i%3), &authpb.ResetRequest{Id: p.owner, Code: "AAAAAAAA", NewSecret: "another password"})
		if errors.Code(err) != codes.InvalidArgument {
			t.Errorf("a guess: %v", err)
		}
	}
	if _, err := p.passwords.Reset(home, &authpb.ResetRequest{Id: p.owner, Code: code, NewSecret: "another password"}); err != nil {
		t.Errorf("the owner's code after others have guessed: %v", err)
	}
}

func TestResetRefuses(t *testing.T) {
	t.Parallel()
	p := setup(t)
	for name, req := range map[string]*authpb.BeginResetRequest{
		"no id":              {},
		"control characters": {Id: "a\r\nBcc: b@example.com@example.com"},
		"long":               {Id: strings.Repeat("a", 129)},
		"a namespace's name": {Id: p.owner, Options: namespace("../micro")},
	} {
		if _, err := p.passwords.BeginReset(t.Context(), req); errors.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}
