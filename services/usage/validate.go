package usage

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	usagepb "github.com/micro/platform/proto/usage"
)

func invalid(format string, args ...any) error {
	return errors.New(codes.InvalidArgument, format, args...)
}

// maxPeriod bounds what is asked for at once.
const maxPeriod = 366 // days

// period is days of UTC, both included.
type period struct{ from, to time.Time }

func parsePeriod(from, to string, now time.Time) (period, error) {
	today := dayOf(now)
	p := period{from: time.Date(today.Year(), today.Month(), 1, 0, 0, 0, 0, time.UTC), to: today}
	var err error
	if to != "" {
		if p.to, err = time.Parse(time.DateOnly, to); err != nil {
			return p, invalid("to %q is no day like 2006-01-02", errors.Clip(to))
		}
		p.from = time.Date(p.to.Year(), p.to.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	if from != "" {
		if p.from, err = time.Parse(time.DateOnly, from); err != nil {
			return p, invalid("from %q is no day like 2006-01-02", errors.Clip(from))
		}
	}
	if p.to.Before(p.from) {
		return p, invalid("from %s is after to %s", day(p.from), day(p.to))
	}
	if p.to.Sub(p.from) >= maxPeriod*24*time.Hour {
		return p, invalid("from %s to %s is more than %d days", day(p.from), day(p.to), maxPeriod)
	}
	return p, nil
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func day(t time.Time) string { return t.Format(time.DateOnly) }

// groups is what has a row of its own.
type groups struct{ day, service, endpoint, member, class bool }

var groupNames = []string{"day", "service", "endpoint", "member", "class"}

func parseGroups(names []string) (groups, error) {
	for _, n := range names {
		if !slices.Contains(groupNames, n) {
			return groups{}, invalid("by %q: it is one of %s", errors.Clip(n), strings.Join(groupNames, ", "))
		}
	}
	has := func(n string) bool { return slices.Contains(names, n) }
	return groups{has("day"), has("service"), has("endpoint"), has("member"), has("class")}, nil
}

// maxCap bounds a budget, in the smallest unit of a currency.
const maxCap = 1_000_000_000_000

var serviceRule = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)

func checkBudget(req *usagepb.SetBudgetRequest) error {
	switch {
	case req.GetService() != "" && !serviceRule.MatchString(req.GetService()):
		return invalid("service %q: 1 to 128 lower-case letters, digits, dots, underscores and hyphens, starting with a letter or digit", errors.Clip(req.GetService()))
	case req.GetCap() < 0 || req.GetCap() > maxCap:
		return invalid("cap %d: 0, for no budget, to %d", req.GetCap(), int64(maxCap))
	case usagepb.BudgetAction_name[int32(req.GetAction())] == "":
		return invalid("action %d is none of NOTIFY, THROTTLE, STOP", req.GetAction())
	}
	return nil
}
