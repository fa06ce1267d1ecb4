package tests

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/micro/platform/billing/plans"
)

// refusals are the tests that show, for each limit of a plan, that nobody gets
// more (T6).
var refusals = map[string]struct{ file, test string }{
	"services":        {"services/runtime/held_test.go", "TestPlan"},
	"replicas":        {"services/runtime/held_test.go", "TestPlan"},
	"cpu":             {"scheduler/limits_test.go", "TestPlanSizesContainers"},
	"memory":          {"scheduler/limits_test.go", "TestPlanSizesContainers"},
	"disk":            {"scheduler/limits_test.go", "TestPlanSizesContainers"},
	"log_retention":   {"services/runtime/retention_test.go", "TestLogRetention"},
	"build_minutes":   {"builder/builder_test.go", "TestMinutes"},
	"builds":          {"builder/builder_test.go", "TestBuildsAtOnce"},
	"rate":            {"proxy/tenant_test.go", "TestRates"},
	"burst":           {"proxy/tenant_test.go", "TestRates"},
	"account_rate":    {"proxy/tenant_test.go", "TestRates"},
	"token_rate":      {"proxy/tenant_test.go", "TestRates"},
	"requests":        {"services/usage/budgets_test.go", "TestQuota"},
	"egress":          {"services/usage/budgets_test.go", "TestQuota"},
	"keys":            {"services/store/limits_test.go", "TestPlan"},
	"store_bytes":     {"services/store/limits_test.go", "TestPlan"},
	"value_bytes":     {"services/store/limits_test.go", "TestPlan"},
	"topics":          {"services/events/retention_test.go", "TestPlan"},
	"event_rate":      {"services/events/retention_test.go", "TestPlan"},
	"event_retention": {"services/events/retention_test.go", "TestPlan"},
	"event_bytes":     {"services/events/room_test.go", "TestEventBytes"},
	"members":         {"services/namespaces/members_test.go", "TestMemberLimit"},
}

// TestEveryLimitRefuses fails for a limit of the catalogue that no test shows to
// be enforced.
func TestEveryLimitRefuses(t *testing.T) {
	t.Parallel()
	for _, limit := range plans.All() {
		by, ok := refusals[limit.Name]
		if !ok {
			t.Errorf("limit %q: no test shows that it is enforced", limit.Name)
			continue
		}
		text, err := os.ReadFile("../" + by.file)
		if err != nil {
			t.Error(err)
			continue
		}
		_, body, found := strings.Cut(string(text), "func "+by.test+"(")
		body, _, _ = strings.Cut(body, "\n}\n")
		words := regexp.MustCompile(`(?i)` + strings.ReplaceAll(limit.Name, "_", "_?"))
		if !found || !words.MatchString(by.test+body) {
			t.Errorf("limit %q: %s of %s does not speak of it", limit.Name, by.test, by.file)
		}
	}
}
