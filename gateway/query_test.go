package gateway

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// TestLongPaths shows that a few bytes of parameters cannot become a forest.
func TestLongPaths(t *testing.T) {
	t.Parallel()
	values := url.Values{}
	for i := range 1000 {
		values.Set("id."+strconv.Itoa(i)+strings.Repeat(".a", 60), "1")
	}
	if _, err := parseParameters(values); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("parseParameters = %v, want an error", err)
	}
}
