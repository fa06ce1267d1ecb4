package namespaces

import (
	"context"
	"time"

	"github.com/micro/platform/internal/limits"
)

// bounds is what strangers can make sign-up do.
type bounds struct{ limits.Limiter }

// mail allows one mail to an address, as far as anybody can tell: who asks too
// often learns nothing about the address.
func (b bounds) mail(ctx context.Context, a address, source string) error {
	all := []limits.Limit{
		{Kind: "mail", Subject: "everybody", Times: 200, Within: time.Minute, Reason: "too many people are signing up at once"},
		perMinute(a),
		{Kind: "day", Subject: a.mailbox, Times: 5, Within: 24 * time.Hour, Reason: "too many codes were asked for"},
	}
	if subject, _, ok := limits.Source(source); ok {
		all = append([]limits.Limit{{Kind: "source", Subject: subject, Times: 20, Within: 24 * time.Hour,
			Reason: "too many codes were asked for from your network"}}, all...)
	}
	return b.Take(ctx, all)
}

func perMinute(a address) limits.Limit {
	return limits.Limit{Kind: "minute", Subject: a.mailbox, Times: 1, Within: time.Minute, Reason: "a code was asked for a moment ago"}
}

// check allows one attempt with a code.
func (b bounds) check(ctx context.Context, source string) error {
	subject, _, ok := limits.Source(source)
	if !ok {
		return nil
	}
	return b.Take(ctx, []limits.Limit{{Kind: "check", Subject: subject, Times: 20, Within: time.Minute, Reason: "too many attempts"}})
}
