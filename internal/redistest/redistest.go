// Package redistest lends a Redis to each test. The server is a real one, named
// by MICRO_TEST_REDIS_URL, which `make test` starts.
package redistest

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
)

const env = "MICRO_TEST_REDIS_URL"

// New lends a client. Tests share one server and tell themselves apart by the
// namespaces in their keys: use Namespace.
func New(t testing.TB) redis.UniversalClient {
	t.Helper()
	o, err := redis.ParseURL(URL(t))
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// URL answers where the server is.
func URL(t testing.TB) string {
	t.Helper()
	url := os.Getenv(env)
	if url == "" {
		t.Fatalf("%s is not set: run the tests by `make test`, or start its servers with `make test-env`", env)
	}
	return url
}

// Namespace makes a name that no other test uses.
func Namespace(t testing.TB) string {
	t.Helper()
	b := make([]byte, 6)
	rand.Read(b)
	return "test-" + hex.EncodeToString(b)
}
