package inbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"
	"time"
)

// start serves an inbox and answers where it takes mail.
func start(t *testing.T) (*Inbox, string) {
	t.Helper()
	b := New(time.Now)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := b.SMTP(slog.New(slog.DiscardHandler))
	go s.Serve(l) //nolint:errcheck // it ends when it is closed
	t.Cleanup(func() { s.Close() })
	return b, l.Addr().String()
}

func send(t *testing.T, address, to, body string) {
	t.Helper()
	if err := smtp.SendMail(address, nil, "micro@example.com", []string{to}, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func get(b *Inbox, host, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil)
	r.Host = host
	b.HTTP().Handler.ServeHTTP(w, r)
	return w
}

func TestMessages(t *testing.T) {
	t.Parallel()
	b, address := start(t)
	send(t, address, "jane@example.com", "Subject: first\r\n\r\none\r\n")
	send(t, address, "joe@example.com", "Subject: other\r\n\r\ntwo\r\n")
	send(t, address, "Jane@example.com", "Subject: =?utf-8?q?caf=C3=A9?=\r\nContent-Type: multipart/alternative; boundary=x\r\n\r\n"+
		"--x\r\nContent-Type: text/html\r\n\r\n<b>no</b>\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--x--\r\n")
	var got []Message
	if err := json.Unmarshal(get(b, "127.0.0.1:8026", "/messages?to=jane@example.com").Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Subject != "café" || strings.TrimSpace(got[0].Text) != "ü" || got[1].Subject != "first" {
		t.Errorf("messages = %+v, want Jane's two, newest first", got)
	}
	if body := get(b, "localhost", "/messages?to=nobody@example.com").Body.String(); strings.TrimSpace(body) != "[]" {
		t.Errorf("messages to nobody = %s, want an empty list", body)
	}
}

// TestPageIsInert shows that what a mail says is text, never markup.
func TestPageIsInert(t *testing.T) {
	t.Parallel()
	b, address := start(t)
	const evil = `<script>alert(1)</script>`
	send(t, address, "jane@example.com", "Subject: "+evil+"\r\n\r\n</pre>"+evil+"\r\n")
	w := get(b, "localhost:8026", "/?to="+strings.ReplaceAll(evil, "/", "%2F"))
	if body := w.Body.String(); strings.Contains(body, "<script>") {
		t.Errorf("page holds markup of a mail:\n%s", body)
	}
	w = get(b, "localhost:8026", "/")
	if body := w.Body.String(); strings.Contains(body, "<script>") || strings.Count(body, "&lt;script&gt;") != 2 {
		t.Errorf("page holds markup of a mail, or not its text:\n%s", body)
	}
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy = %q", csp)
	}
}

func TestOtherNamesAreNotAnswered(t *testing.T) {
	t.Parallel()
	b, _ := start(t)
	if w := get(b, "rebound.example.com:8026", "/messages"); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("status = %d, want 421", w.Code)
	}
}

func TestOldMessagesMakeRoom(t *testing.T) {
	t.Parallel()
	b := New(time.Now)
	for i := range maxMessages + 10 {
		b.add(Message{Subject: fmt.Sprint(i)})
	}
	if got := b.Messages(""); len(got) != maxMessages || got[0].Subject != fmt.Sprint(maxMessages+9) {
		t.Errorf("%d messages, newest %q", len(got), got[0].Subject)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	b, address := start(t)
	if err := smtp.SendMail(address, nil, "a@example.com", []string{"b@example.com"}, []byte("Subject: x\r\n\r\n"+strings.Repeat("0123456789\r\n", maxMessage/12+1))); err == nil {
		t.Error("a message over the limit was taken")
	}
	var many []string
	for i := range maxRecipients + 1 {
		many = append(many, fmt.Sprintf("%d@example.com", i))
	}
	if err := smtp.SendMail(address, nil, "a@example.com", many, []byte("Subject: x\r\n\r\nx\r\n")); err == nil {
		t.Error("too many recipients were taken")
	}
	if got := b.Messages(""); len(got) != 0 {
		t.Errorf("messages = %v, want none", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Subject: a\r\n\r\nb")
	f.Add("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n--x--")
	f.Add("Content-Transfer-Encoding: base64\r\n\r\n====")
	f.Fuzz(func(t *testing.T, text string) {
		parse(io.LimitReader(strings.NewReader(text), maxMessage)) //nolint:errcheck // it must not panic
	})
}
