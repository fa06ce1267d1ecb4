package identity

import (
	"sync"
	"time"
)

// Revocations is the set of accounts whose older tokens are refused. A token
// carries the epoch of its account; changing the secret or deleting the account
// moves the epoch on. The set is filled from auth.Components.Watch.
type Revocations struct {
	mu       sync.RWMutex
	accounts map[accountKey]revocation
}

type accountKey struct{ namespace, id string }

type revocation struct {
	epoch   int64
	expires int64 // unix seconds
}

// NewRevocations makes an empty set.
func NewRevocations() *Revocations {
	return &Revocations{accounts: map[accountKey]revocation{}}
}

// Add refuses an account's tokens of smaller epochs, until the last of them has
// expired by itself.
func (r *Revocations) Add(namespace, account string, epoch int64, expires time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := accountKey{namespace, account}
	if epoch > r.accounts[key].epoch {
		r.accounts[key] = revocation{epoch, expires.Unix()}
	}
}

// Revoked says whether the caller's token is refused. Components have no
// accounts; what would revoke them is another cluster secret.
func (r *Revocations) Revoked(c Caller) bool {
	if c.IsComponent() {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return c.Epoch < r.accounts[accountKey{c.Namespace, c.ID}].epoch
}

// Prune forgets what has expired.
func (r *Revocations) Prune(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, rev := range r.accounts {
		if rev.expires < now.Unix() {
			delete(r.accounts, key)
		}
	}
}
