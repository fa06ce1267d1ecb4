package plans

import (
	"fmt"
	"net/http"
	"time"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/quota"
)

// Met is a limit of a plan that stands in the way.
type Met struct {
	Plan, Limit string
	Most        Limit
	// Window is the time in which Most is there again, 0 where it never is by
	// itself.
	Window time.Duration
	// Remedy is what helps beside a larger plan.
	Remedy string
}

// Over is the error of who wants more than a limit of a plan allows. The text
// says who may have how much.
func Over(m Met, format string, args ...any) error {
	return errors.NewHTTP(http.StatusTooManyRequests, "%s", OverText(m.Plan, m.Limit, m.Remedy, format, args...)).
		Because(&quota.Reached{Policy: m.Limit, Most: int64(m.Most), Window: m.Window})
}

// OverText is the text of Over, for what is refused in another way.
func OverText(plan, limit, remedy, format string, args ...any) string {
	return fmt.Sprintf("%s, which is the limit %q of plan %s: %s, or raise it with a larger plan (\"micro plan\" lists them)",
		fmt.Sprintf(format, args...), limit, plan, remedy)
}
