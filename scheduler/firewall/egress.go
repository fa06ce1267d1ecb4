package firewall

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// egressTable is the name of the table that counts.
func egressTable(cluster string) string { return table(cluster) + "_egress" }

// Sent answers how many bytes went to the internet from each bridge of a
// cluster, packets as a whole, since the host was started. A bridge that never
// sent any is not in it; one that was removed is, and one that comes back under
// its name counts on.
func Sent(ctx context.Context, cluster string) (map[string]int64, error) {
	tables, err := nft(ctx, "", "list", "tables", "inet")
	if err != nil {
		return nil, err
	}
	sent := map[string]int64{}
	if !strings.Contains(tables, "table inet "+egressTable(cluster)+"\n") {
		return sent, nil // nothing ran here yet
	}
	text, err := nft(ctx, "", "-j", "list", "set", "inet", egressTable(cluster), "sent")
	if err != nil {
		return nil, err
	}
	var listed struct {
		Nftables []struct {
			Set struct {
				Elem []struct {
					Elem struct {
						Val     string
						Counter struct{ Bytes int64 }
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &listed); err != nil {
		return nil, fmt.Errorf("read what nft counted: %w", err)
	}
	for _, part := range listed.Nftables {
		for _, e := range part.Set.Elem {
			sent[e.Elem.Val] = e.Elem.Counter.Bytes
		}
	}
	return sent, nil
}
