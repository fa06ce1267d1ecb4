package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/micro/platform/internal/settings"
)

// refreshKey makes refresh tokens out of a session's id and a generation, the
// number of times it was renewed. The successor of a token is thus known without
// being stored: a client that asks twice, because its answer was lost or because
// two of its processes renew at once, gets the same one.
type refreshKey []byte

func newRefreshKey(cluster settings.Secret) (refreshKey, error) {
	key, err := hkdf.Key(sha256.New, []byte(cluster.Reveal()), nil, "micro auth refresh tokens", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("derive key of refresh tokens: %w", err)
	}
	return key, nil
}

const (
	// refreshPrefix lets scanners of source code know a leaked token.
	refreshPrefix = "mrt_"
	sessionSize   = 16
	refreshSize   = sessionSize + 4 + sha256.Size
)

// newSession makes the id of a login.
func newSession() []byte {
	id := make([]byte, sessionSize)
	rand.Read(id)
	return id
}

func (k refreshKey) token(session []byte, generation int32) string {
	b := binary.BigEndian.AppendUint32(append(make([]byte, 0, refreshSize), session...), uint32(generation))
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(append(b, k.sum(b)...))
}

// open answers what a token was made of; false means that we did not make it.
func (k refreshKey) open(token string) (session []byte, generation int32, ok bool) {
	text, ok := strings.CutPrefix(token, refreshPrefix)
	if !ok || len(text) != base64.RawURLEncoding.EncodedLen(refreshSize) {
		return nil, 0, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, 0, false
	}
	head, sum := b[:sessionSize+4], b[sessionSize+4:]
	if !hmac.Equal(sum, k.sum(head)) {
		return nil, 0, false
	}
	return head[:sessionSize], int32(binary.BigEndian.Uint32(head[sessionSize:])), true
}

func (k refreshKey) sum(b []byte) []byte {
	mac := hmac.New(sha256.New, k)
	mac.Write(b)
	return mac.Sum(nil)
}
