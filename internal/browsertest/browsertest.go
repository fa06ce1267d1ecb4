package browsertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/micro/platform/internal/programtest"
)

// timeout bounds each step.
const timeout = 20 * time.Second

// Page is a tab.
type Page struct {
	t       testing.TB
	conn    *websocket.Conn
	session string

	mu      sync.Mutex
	last    int
	waiting map[int]chan answer
	dialogs int // that a page has opened with alert and the like
	changed bool
}

// answer is a message of the browser: to a call, or an event.
type answer struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Open starts a browser with one page.
func Open(t testing.TB) *Page {
	t.Helper()
	path := programtest.Path(t, "chromium")
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait() //nolint:errcheck // it was killed
		// Its helpers write into the directory until they have ended, too.
		for end := time.Now().Add(timeout); syscall.Kill(-cmd.Process.Pid, 0) == nil && time.Now().Before(end); {
			<-time.After(10 * time.Millisecond)
		}
	})
	p := &Page{t: t, waiting: map[int]chan answer{}}
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, address, ok := strings.Cut(lines.Text(), "DevTools listening on "); ok {
			p.connect(ctx, address)
			return p
		}
	}
	t.Fatal("the browser does not say where it listens")
	return nil
}

func (p *Page) connect(ctx context.Context, address string) {
	p.t.Helper()
	var err error
	if p.conn, _, err = websocket.Dial(ctx, address, nil); err != nil {
		p.t.Fatal(err)
	}
	p.conn.SetReadLimit(64 << 20)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.read(ctx)
	}()
	p.t.Cleanup(func() {
		p.conn.CloseNow() //nolint:errcheck // it is over
		<-ended
	})
	var target struct{ TargetID string }
	p.Call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	p.Call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	p.Call("Page.enable", nil, nil)
	p.Call("Runtime.enable", nil, nil)
	p.Call("Network.enable", nil, nil)
}

func (p *Page) read(ctx context.Context) {
	for {
		_, b, err := p.conn.Read(ctx)
		if err != nil {
			return
		}
		var a answer
		if json.Unmarshal(b, &a) != nil {
			continue
		}
		p.mu.Lock()
		switch a.Method {
		case "Page.javascriptDialogOpening":
			p.dialogs++
		case "Network.loadingFailed":
			p.changed = p.changed || bytes.Contains(a.Params, []byte("net::ERR_NETWORK_CHANGED"))
		}
		if c := p.waiting[a.ID]; c != nil {
			c <- a
			delete(p.waiting, a.ID)
		}
		p.mu.Unlock()
	}
}

// Dialogs is how many dialogs scripts have opened: alert, confirm, prompt.
func (p *Page) Dialogs() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialogs
}

// Call makes a call of the DevTools protocol.
func (p *Page) Call(method string, params, into any) {
	p.t.Helper()
	if err := p.call(method, params, into); err != nil {
		p.t.Fatalf("%s: %v", method, err)
	}
}

func (p *Page) call(method string, params, into any) error {
	if params == nil {
		params = struct{}{}
	}
	c := make(chan answer, 1)
	p.mu.Lock()
	p.last++
	id := p.last
	p.waiting[id] = c
	p.mu.Unlock()
	b, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params, "sessionId": p.session})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := p.conn.Write(ctx, websocket.MessageText, b); err != nil {
		return err
	}
	select {
	case a := <-c:
		if a.Error != nil {
			return errors.New(a.Error.Message)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(a.Result, into)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Visit opens an address, again when what a page consists of was not loaded since
// the host's networks have changed: other tests make some, and Chromium gives up
// all that it is loading.
func (p *Page) Visit(address string) {
	p.t.Helper()
	for end := time.Now().Add(timeout); ; {
		p.mu.Lock()
		p.changed = false
		p.mu.Unlock()
		p.Call("Page.navigate", map[string]any{"url": address}, nil)
		p.Wait(`document.readyState === "complete"`)
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if !changed || time.Now().After(end) {
			return
		}
	}
}

// Eval answers what an expression is, a promise awaited, as text.
func (p *Page) Eval(expression string) string {
	p.t.Helper()
	v, err := p.eval(expression)
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (p *Page) eval(expression string) (string, error) {
	var r struct {
		Result struct {
			Value any
		}
		ExceptionDetails *struct {
			Exception struct{ Description string }
		}
	}
	err := p.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &r)
	if err != nil {
		return "", err
	}
	if r.ExceptionDetails != nil {
		return "", errors.New(r.ExceptionDetails.Exception.Description)
	}
	return fmt.Sprint(r.Result.Value), nil
}

// Wait waits until an expression is true. One that cannot be answered, since a
// page is being loaded, is asked again.
func (p *Page) Wait(expression string) {
	p.t.Helper()
	deadline := time.Now().Add(timeout)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		v, err := p.eval("Boolean(" + expression + ")")
		if err == nil && v == "true" {
			tick.Stop()
			return
		}
		if time.Now().After(deadline) {
			tick.Stop()
			shows, _ := p.eval("document.body.innerText")
			p.t.Fatalf("not in time: %s (%v); the page shows:\n%s", expression, err, shows)
		}
	}
}

// Shows waits until the page has a text.
func (p *Page) Shows(text string) {
	p.t.Helper()
	p.Wait("document.body.innerText.includes(" + quote(text) + ")")
}

// Fill types into the field of a name, in the form or dialog that is on top.
func (p *Page) Fill(name, value string) {
	p.t.Helper()
	at := `[...document.querySelectorAll("dialog[open] [name=` + name + `], main [name=` + name + `]")].at(-1)`
	p.Wait(at)
	p.Eval(`{ const e = ` + at + `; e.value = ` + quote(value) + `; e.dispatchEvent(new Event("input", {bubbles: true})); e.dispatchEvent(new Event("change", {bubbles: true})); }`)
}

// Click clicks the last button or link that says a text.
func (p *Page) Click(text string) {
	p.t.Helper()
	at := `[...document.querySelectorAll("button, a, summary")].filter((e) => e.innerText.trim() === ` + quote(text) + ` && !e.disabled && e.checkVisibility()).at(-1)`
	p.Wait(at)
	p.Eval(at + ".click()")
}

func quote(s string) string {
	b, _ := json.Marshal(s) // of text there is no error
	return string(b)
}
