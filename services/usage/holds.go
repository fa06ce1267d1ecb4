package usage

import (
	"fmt"
	"strings"
	"time"

	"github.com/micro/platform/billing/plans"
	"github.com/micro/platform/billing/rating"
	namespacespb "github.com/micro/platform/proto/namespaces"
	usagepb "github.com/micro/platform/proto/usage"
)

// hold is what holds a service back, and why.
type hold struct {
	Action namespacespb.Action
	Reason string // for members of the namespace
}

// actions is what a budget that is spent comes to.
var actions = map[usagepb.BudgetAction]namespacespb.Action{
	usagepb.BudgetAction_THROTTLE: namespacespb.Action_SLOW,
	usagepb.BudgetAction_STOP:     namespacespb.Action_STOP,
}

// holds answers what is to hold a namespace's services back, by service. Quotas
// of the plan are for all of them.
func (b balance) holds() map[string]hold {
	out := map[string]hold{}
	strongest := func(service string, h hold) {
		if h.Action > out[service].Action {
			out[service] = h
		}
	}
	next := day(b.month.AddDate(0, 1, 0))
	quota := func(name, what string, used int64, limit plans.Limit) {
		if !limit.Allows(used) {
			strongest("", hold{namespacespb.Action_STOP, fmt.Sprintf("the %d %s a month of plan %s (limit %s) are used up: a larger plan has more, and it begins anew on %s",
				limit, what, b.plan, name, next)})
		}
	}
	quota("requests", "calls", b.total.Calls, b.limits.Requests)
	if b.limits.Egress != 0 { // with none containers reach nothing outside, and calls are answered
		quota("egress", "bytes sent", b.total.EgressBytes, b.limits.Egress)
	}
	for _, x := range b.budgets {
		if action := actions[x.Action]; x.Cap > 0 && action != namespacespb.Action_NONE && b.reached(x, 100) {
			strongest(x.Service, hold{action, fmt.Sprintf("the budget of %s a month is spent: an admin raises it with \"%s\", and it begins anew on %s",
				money(x.Cap, b.price.Currency), raise(x), next)})
		}
	}
	return out
}

// reached says whether so many percent of a budget are spent.
func (b balance) reached(x budget, percent int64) bool {
	return b.spent(x.Service)/percent >= x.Cap*(rating.Millionths/100)
}

// raise is the command that raises a budget.
func raise(x budget) string {
	command := "micro budget set AMOUNT"
	if x.Service != "" {
		command += " --service " + x.Service
	}
	return command
}

// money writes an amount of the smallest unit of a currency.
func money(amount int64, currency string) string {
	return strings.TrimSpace(fmt.Sprintf("%d.%02d %s", amount/100, amount%100, currency))
}

// mailFor is how long a mail about a budget is worth sending.
const mailFor = 24 * time.Hour

// percents are the steps of a budget at which its owner gets a mail.
var percents = []int64{80, 100}
