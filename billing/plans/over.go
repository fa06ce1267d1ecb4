package plans

import (
	"fmt"
	"net/http"

	"github.com/micro/platform/framework/errors"
)

// Over is the error of who wants more than a limit of a plan allows. The text
// says who may have how much; remedy is what helps beside a larger plan.
func Over(plan, limit, remedy, format string, args ...any) error {
	return errors.NewHTTP(http.StatusTooManyRequests, "%s", OverText(plan, limit, remedy, format, args...))
}

// OverText is the text of Over, for what is refused in another way.
func OverText(plan, limit, remedy, format string, args ...any) string {
	return fmt.Sprintf("%s, which is the limit %q of plan %s: %s, or raise it with a larger plan (\"micro plan\" lists them)",
		fmt.Sprintf(format, args...), limit, plan, remedy)
}
