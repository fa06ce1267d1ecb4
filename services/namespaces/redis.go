package namespaces

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/abuse"
	"github.com/micro/platform/internal/mailbox"
)

const day = 24 * time.Hour

// bounds is what anybody can make sign-up do.
type bounds struct {
	abuse.Limiter
	perDomain int // mails a day to a domain that is none of the large providers'; 0 is no limit
}

// begin allows a request, as far as anybody can tell, and says whether a mail
// goes out for it: who asks too often learns nothing about the address. That
// others ask for it keeps nobody from asking, and soon after a mail that
// somebody else asked for there is no other.
func (b bounds) begin(ctx context.Context, a mailbox.Address, source string) (mail bool, err error) {
	if err := b.Take(ctx, b.asks(a, source)); err != nil {
		return false, err
	}
	if err := b.Forget(ctx, tries(a, source)); err != nil {
		return false, err
	}
	switch err := b.Take(ctx, []abuse.Limit{mailMinute(a)}); {
	case errors.Code(err) == codes.ResourceExhausted:
		return false, nil
	case err != nil:
		return false, err
	}
	err = b.Take(ctx, []abuse.Limit{
		{Kind: "mail", Subject: "everybody", Times: 200, Within: time.Minute, Reason: "too many people are signing up at once"},
		{Kind: "day", Subject: a.Mailbox, Times: 5, Within: day, Reason: "too many codes were asked for"},
	})
	return err == nil, err
}

// asks are the limits of requests. Loopback has few: it stands for all.
func (b bounds) asks(a mailbox.Address, source string) []abuse.Limit {
	address, network, ok := abuse.Source(source)
	all := []abuse.Limit{askMinute(a, source)}
	if !ok {
		return all
	}
	all = append(all,
		abuse.Limit{Kind: "source", Subject: address, Times: 20, Within: day, Reason: "too many codes were asked for from your address"},
		abuse.Limit{Kind: "network", Subject: network, Times: 100, Within: day, Reason: "too many codes were asked for from your network"})
	if domain := a.Domain(); b.perDomain > 0 && !isLarge(domain) {
		all = append(all, abuse.Limit{Kind: "domain", Subject: domain, Times: b.perDomain, Within: day, Reason: "too many people of this mail domain are signing up"})
	}
	return all
}

// at is a mailbox as far as one network is concerned.
func at(a mailbox.Address, source string) string {
	network, _, _ := abuse.Source(source)
	return a.Mailbox + "\x00" + network
}

func askMinute(a mailbox.Address, source string) abuse.Limit {
	return abuse.Limit{Kind: "minute", Subject: at(a, source), Times: 1, Within: time.Minute, Reason: "a code was asked for a moment ago"}
}

func mailMinute(a mailbox.Address) abuse.Limit {
	return abuse.Limit{Kind: "mail minute", Subject: a.Mailbox, Times: 1, Within: time.Minute, Reason: "a code was sent a moment ago"}
}

// tries are the guesses that one network has at a code, so that others do not
// use up those of whom it was sent to.
func tries(a mailbox.Address, source string) abuse.Limit {
	return abuse.Limit{Kind: "tries", Subject: at(a, source), Times: maxAttempts, Within: codeLife, Reason: "too many attempts"}
}

// check allows one attempt with a code. A good one does not count: see good.
func (b bounds) check(ctx context.Context, a mailbox.Address, source string) error {
	if subject, _, ok := abuse.Source(source); ok {
		all := []abuse.Limit{{Kind: "check", Subject: subject, Times: 20, Within: time.Minute, Reason: "too many attempts"}}
		if err := b.Take(ctx, all); err != nil {
			return err
		}
	}
	err := b.Take(ctx, []abuse.Limit{tries(a, source)})
	if errors.Code(err) == codes.ResourceExhausted {
		return badCode() // another code makes another start
	}
	return err
}

// good takes back the attempt that check has counted.
func (b bounds) good(ctx context.Context, a mailbox.Address, source string) error {
	return b.GiveBack(ctx, tries(a, source))
}

// invite allows one mail with an invitation: namespaces do not bomb mailboxes.
func (b bounds) invite(ctx context.Context, namespace, mailbox string) error {
	return b.Take(ctx, []abuse.Limit{
		{Kind: "invite namespace", Subject: namespace, Times: 50, Within: day, Reason: "too many invitations were sent from the namespace"},
		inviteMinute(namespace, mailbox),
		{Kind: "invite day", Subject: mailbox, Times: 5, Within: day, Reason: "too many invitations were sent there"},
	})
}

func inviteMinute(namespace, mailbox string) abuse.Limit {
	return abuse.Limit{Kind: "invite minute", Subject: namespace + "\x00" + mailbox, Times: 1, Within: time.Minute, Reason: "an invitation was sent there a moment ago"}
}

// accept allows one attempt with the code of an invitation.
func (b bounds) accept(ctx context.Context, source string) error {
	subject, _, ok := abuse.Source(source)
	if !ok {
		return nil
	}
	return b.Take(ctx, []abuse.Limit{{Kind: "accept", Subject: subject, Times: 20, Within: time.Minute, Reason: "too many attempts"}})
}

// create allows somebody to make one namespace.
func (b bounds) create(ctx context.Context, mailbox string) error {
	return b.Take(ctx, []abuse.Limit{{Kind: "create", Subject: mailbox, Times: 20, Within: day, Reason: "too many namespaces were made"}})
}
