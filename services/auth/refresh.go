package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/micro/platform/internal/seal"
)

// refreshKey makes refresh tokens out of a session's id and a generation, the
// number of times it was renewed. The successor of a token is thus known without
// being stored: a client that asks twice, because its answer was lost or because
// two of its processes renew at once, gets the same one. While the cluster secret
// is exchanged there are two: the first makes tokens, both open them.
type refreshKey [][]byte

func newRefreshKey(cluster seal.Cluster) (refreshKey, error) {
	return cluster.Keys("micro auth refresh tokens")
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
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(append(b, refreshSum(k[0], b)...))
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
	if !slices.ContainsFunc(k, func(key []byte) bool { return hmac.Equal(sum, refreshSum(key, head)) }) {
		return nil, 0, false
	}
	return head[:sessionSize], int32(binary.BigEndian.Uint32(head[sessionSize:])), true
}

func refreshSum(key, b []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	return mac.Sum(nil)
}
