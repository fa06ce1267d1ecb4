package usage

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/mail"
	namespacespb "github.com/micro/platform/proto/namespaces"
	usagepb "github.com/micro/platform/proto/usage"
)

// alert mails the owner about budgets that are nearly or wholly spent, once for
// each step, month and cap.
func (k *keeper) alert(ctx context.Context, namespace string, b balance) error {
	for _, x := range b.budgets {
		for _, percent := range percents {
			if x.Cap <= 0 || !b.reached(x, percent) {
				continue
			}
			known, err := k.db.alerted(ctx, namespace, x, b.month, percent)
			if err != nil {
				return err
			}
			if known {
				continue
			}
			owner, err := k.owner(ctx, namespace)
			if err != nil || owner == "" {
				return err
			}
			err = k.db.alert(ctx, namespace, x, b.month, percent, func(ctx context.Context, tx pgx.Tx) error {
				return k.mail.Put(ctx, tx, budgetMail(owner, namespace, b, x, percent), k.now().Add(mailFor))
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *keeper) owner(ctx context.Context, namespace string) (string, error) {
	rsp, err := k.owners.Get(identity.AsComponent(ctx), &namespacespb.GetRequest{Namespace: namespace})
	if err != nil {
		return "", fmt.Errorf("owner of %s: %w", namespace, err)
	}
	return rsp.GetNamespace().GetOwner(), nil
}

// consequence says what happens when a budget is spent.
var consequence = map[usagepb.BudgetAction]string{
	usagepb.BudgetAction_NOTIFY:   "Nothing else happens when it is spent.",
	usagepb.BudgetAction_THROTTLE: "When it is spent, calls are held back to a tenth of the plan's rate.",
	usagepb.BudgetAction_STOP:     "When it is spent, calls are refused and containers stopped until the month ends or the budget is raised.",
}

func budgetMail(owner, namespace string, b balance, x budget, percent int64) mail.Message {
	of := "namespace " + namespace
	if x.Service != "" {
		of = fmt.Sprintf("service %s of namespace %s", x.Service, namespace)
	}
	return mail.Message{To: owner, Subject: fmt.Sprintf("%d%% of the budget of %s is spent", percent, of), Text: fmt.Sprintf(`Hello,

%d%% of this month's budget of %s is spent. The budget is %s.
%s

    micro usage --by day,service     what it was spent on
    %s     raises it
`, percent, of, money(x.Cap, b.price.Currency), consequence[x.Action], raise(x))}
}
