package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/tests/platform"
)

// pricey starts a platform on which every call costs a cent.
func pricey(t *testing.T) *platform.Platform {
	t.Helper()
	plans, err := os.ReadFile("../billing/plans/plans.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before, local, _ := strings.Cut(string(plans), "- id: local")
	text := before + "- id: local" + strings.Replace(local, "price: {}", "price: {currency: EUR, million_requests: 1000000}", 1)
	file := filepath.Join(t.TempDir(), "plans.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, false, "MICRO_NAMESPACES_PLANS="+file, "MICRO_USAGE_SAMPLE=1s")
}

// spender calls helloworld over HTTP as fast as one client can.
type spender struct {
	t     *testing.T
	p     *platform.Platform
	token string
}

func newSpender(t *testing.T, p *platform.Platform, x *platform.Person) spender {
	t.Helper()
	out, err := sh(t.Context(), x, "micro user token")
	if err != nil {
		t.Fatal(err, out)
	}
	return spender{t, p, strings.TrimSpace(out)}
}

func (c spender) call() (code int, answer string) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.p.API+"/helloworld/Call", strings.NewReader(`{"name":"Jane"}`))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return rsp.StatusCode, string(body)
}

// until calls until an answer is another one. It answers that, how many calls
// were answered, and how long they took after the first n of them.
func (c spender) until(code, n int) (answer string, calls int, after time.Duration) {
	var crossed time.Time
	for end := time.Now().Add(settle); ; {
		got, answer := c.call()
		if got == code {
			return answer, calls, time.Since(crossed)
		}
		if got != http.StatusOK || time.Now().After(end) {
			c.t.Fatalf("call %d: %d %s, want %d", calls, got, answer, code)
		}
		if calls++; calls == n {
			crossed = time.Now()
		}
	}
}

// TestBudget spends budgets on a real server: the owner hears of it, the
// service's containers are stopped and its calls are refused with the reason,
// others go on, and raising it lets go. It says by how much a budget is overrun.
func TestBudget(t *testing.T) {
	t.Parallel()
	p := pricey(t)
	alice := person(t, p, "alice")
	deploy(t, alice, "Hello ")
	expect(t, alice, "EUR", "micro budget get") // there is one by default
	const calls = 100
	expect(t, alice, "", "micro budget set 1.00 --service helloworld --action stop")
	c := newSpender(t, p, alice)
	answer, made, after := c.until(http.StatusTooManyRequests, calls)
	t.Logf("a budget of %d calls: refused %v after it was spent, overrun by %d calls of one client", calls, after.Round(time.Millisecond), made-calls)
	if made < calls || after > 5*time.Second {
		t.Errorf("%d calls were answered, and refused %v after the last that the budget has", made, after)
	}
	for _, want := range []string{"budget of 1.00 EUR", "micro budget set AMOUNT --service helloworld"} {
		if !strings.Contains(answer, want) {
			t.Errorf("refused with %s, want %q", answer, want)
		}
	}
	inbox := `curl -s "http://` + p.Inbox + `/messages?to=` + alice.Email + `"`
	eventually(t, alice, "100% of the budget of service helloworld", inbox)
	eventually(t, alice, "budget of 1.00 EUR", "micro status -o json")
	expect(t, alice, "", "micro store write a b") // the platform itself answers
	expect(t, alice, "", "micro budget set 50 --service helloworld --action stop")
	eventually(t, alice, "Hello Jane", "micro helloworld call --name=Jane")
	expect(t, alice, "", "micro budget set 0.50 --action throttle")
	eventually(t, alice, "held back", "micro limits")
	answer, made, _ = c.until(http.StatusTooManyRequests, 0)
	t.Logf("throttled: one client is refused after %d calls", made)
	if !strings.Contains(answer, "budget of 0.50 EUR") {
		t.Errorf("throttled with %s", answer)
	}
	expect(t, alice, "", "micro kill helloworld")
}

// TestServiceIsMetered counts a real container and its build, with the server
// killed in between, and compares them with what Docker says.
func TestServiceIsMetered(t *testing.T) {
	t.Parallel()
	p := start(t, false, "MICRO_USAGE_SAMPLE=500ms", "MICRO_USAGE_SAMPLE_STORED=500ms")
	alice := person(t, p, "alice")
	expect(t, alice, "", "micro new helloworld")
	edit(t, alice, "import (", "import (\n\t\"net\"\n")
	edit(t, alice, `"Hello "`, `send()`)
	expect(t, alice, "", "cat >> helloworld/handler/helloworld.go <<'END'\n"+sender+"END")
	expect(t, alice, "running", "micro run ./helloworld")
	expect(t, alice, "Hello Jane", "micro helloworld call --name=Jane")
	expect(t, alice, "", "micro store write key value")
	cluster, err := p.Cluster()
	if err != nil {
		t.Fatal(err)
	}
	filter := "--filter label=micro.namespace=alice-space --filter label=micro.cluster=" + cluster
	started := dockerTime(t, alice, "docker inspect -f '{{.State.StartedAt}}' $(docker ps -q "+filter+")")
	p.Kill("server")
	<-time.After(2 * time.Second) // the container runs on
	if err := p.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, alice, "Hello Jane", "micro helloworld call --name=Jane")
	expect(t, alice, "", "micro kill helloworld")
	eventually(t, alice, "gone", `test -z "$(docker ps -q `+filter+`)" && echo gone`)
	event := func(name, which string) time.Duration {
		return dockerTime(t, alice, fmt.Sprintf("docker events --since %d --until %d --filter event=%s %s --format '{{.TimeNano}}' | %s -1 | sed 's/.........$/.&/' | xargs -I{} date -u -d @{} +%%Y-%%m-%%dT%%H:%%M:%%S.%%NZ",
			started.Unix(), time.Now().Unix()+1, name, filter, which)).Sub(started)
	}
	// It ended between these two. A look that finds it gone counts until that look.
	told, ended := event("kill", "head"), event("die", "tail")
	least, most := 1000*int64(told.Seconds()), (ended + time.Second).Milliseconds()
	var seen usageRow
	for end := time.Now().Add(settle); ; {
		again := usageOf(t, alice, "helloworld")
		if again.CPU >= least && again == seen || time.Now().After(end) {
			break
		}
		seen = again
		<-time.After(time.Second)
	}
	sent := usageOf(t, alice, "").Egress
	t.Logf("a container of %v to %v and its build: %+v; %d bytes sent by all", told, ended, seen, sent)
	if os.Geteuid() == 0 && sent < 2*10*1028 { // nobody else has a firewall that counts
		t.Errorf("%d bytes were sent, and two calls have made the container send 10280 each", sent)
	}
	if seen.CPU < least || seen.CPU > most || seen.Memory != seen.CPU/1000*256 {
		t.Errorf("counted %+v for one core and 256 MiB, want %d to %d ms", seen, least, most)
	}
	if seen.Build < 1 || seen.Build > int64(recovery/time.Second) {
		t.Errorf("%d seconds of building", seen.Build)
	}
}

// sender sends 10 datagrams of 1028 bytes to an address that is not private, and
// that nobody has: routers may say so, which makes the next one fail unsent.
const sender = `
func send() string {
	if conn, err := net.Dial("udp", "192.88.99.1:9"); err == nil {
		for sent, tries := 0, 0; sent < 10 && tries < 100; tries++ {
			if _, err := conn.Write(make([]byte, 1000)); err == nil {
				sent++
			}
		}
		conn.Close()
	}
	return "Hello "
}
`

// usageRow is what micro usage says of a service.
type usageRow struct {
	CPU    int64 `json:"cpu_milli_seconds,string"`
	Memory int64 `json:"memory_mib_seconds,string"`
	Build  int64 `json:"build_seconds,string"`
	Stored int64 `json:"stored_byte_hours,string"`
	Egress int64 `json:"egress_bytes,string"`
}

func usageOf(t *testing.T, x *platform.Person, service string) usageRow {
	t.Helper()
	out, err := sh(t.Context(), x, "micro usage -o json --by none --service '"+service+"'")
	if err != nil {
		t.Fatal(err, out)
	}
	var rsp struct{ Total usageRow }
	if err := json.Unmarshal([]byte(out), &rsp); err != nil {
		t.Fatal(err, out)
	}
	return rsp.Total
}

// dockerTime is the time that a command of Docker's prints.
func dockerTime(t *testing.T, x *platform.Person, command string) time.Time {
	t.Helper()
	out, err := sh(t.Context(), x, command)
	if err != nil {
		t.Fatal(err, out)
	}
	at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	return at
}
