package password

import (
	"context"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	h := NewHasher()
	hash, err := h.Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckHash(hash); err != nil {
		t.Error(err)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct hors": false, "": false} {
		if got, err := h.Match(t.Context(), password, hash); err != nil || got != want {
			t.Errorf("Match(%q) = %v, %v; want %v", password, got, err, want)
		}
	}
	if err := h.Pretend(t.Context(), "correct horse"); err != nil {
		t.Error(err)
	}
}

func TestCheckHash(t *testing.T) {
	t.Parallel()
	for _, hash := range []string{
		"", "correct horse", "$2a$10$abc",
		"$argon2id$v=19$m=4194304,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=19456,t=2000,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=19456,t=0,p=0$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=19456,t=2,p=1$AAAA$AAAA",
	} {
		if CheckHash(hash) == nil {
			t.Errorf("CheckHash(%q) accepts it", hash)
		}
	}
}

// TestQueueIsBounded shows that a flood is turned away, and that who gives up
// leaves the queue.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	h := &Hasher{turn: make(chan struct{}, 1), waiting: make(chan struct{}, 2)}
	done, err := h.wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.waiting <- struct{}{} // another waits
	if _, err := h.wait(t.Context()); errors.Code(err) != codes.ResourceExhausted {
		t.Errorf("wait = %v, want ResourceExhausted", err)
	}
	<-h.waiting
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.wait(gone); !errors.Is(err, context.Canceled) || len(h.waiting) != 1 {
		t.Errorf("wait = %v with %d in the queue, want that it gave up and left", err, len(h.waiting))
	}
	done()
	if done, err = h.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	done()
}
