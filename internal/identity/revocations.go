package identity

import (
	"slices"
	"sync"
	"time"

	authpb "github.com/micro/platform/proto/auth"
)

// Revocations says which good tokens are refused. It is filled from
// auth.Components.Watch. There are four kinds: by account, whose epoch has
// moved on; by session, the login or API token that access tokens descend from;
// and by namespace, of services that are gone, so that the first kind need not
// be kept one by one for as long as a service's token lives; and by namespace, of
// everybody, when it was erased.
type Revocations struct {
	mu       sync.RWMutex
	accounts map[scoped]*authpb.Revocation
	sessions map[scoped]*authpb.Revocation
	services map[string]*authpb.Revocation // by namespace
	erased   map[string]*authpb.Revocation // by namespace
}

type scoped struct{ namespace, id string }

// NewRevocations makes an empty set.
func NewRevocations() *Revocations {
	return &Revocations{
		accounts: map[scoped]*authpb.Revocation{},
		sessions: map[scoped]*authpb.Revocation{},
		services: map[string]*authpb.Revocation{},
		erased:   map[string]*authpb.Revocation{},
	}
}

// Add takes in a revocation. The order in which they come does not matter.
func (r *Revocations) Add(x *authpb.Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case x.GetErased():
		if x.GetEpoch() > r.erased[x.GetNamespace()].GetEpoch() {
			r.erased[x.GetNamespace()] = x
		}
	case x.GetSession() != "":
		key := scoped{x.GetNamespace(), x.GetSession()}
		if old := r.sessions[key]; old == nil || x.GetExpires() > old.GetExpires() {
			r.sessions[key] = x
		}
	case x.GetAccount() != "":
		key := scoped{x.GetNamespace(), x.GetAccount()}
		if x.GetEpoch() > r.accounts[key].GetEpoch() {
			r.accounts[key] = x
		}
	default:
		r.addServices(x)
	}
}

// addServices also forgets what the new revocation says for the old ones. The
// caller holds mu.
func (r *Revocations) addServices(x *authpb.Revocation) {
	if x.GetEpoch() <= r.services[x.GetNamespace()].GetEpoch() {
		return
	}
	r.services[x.GetNamespace()] = x
	for key, old := range r.accounts {
		if key.namespace == x.GetNamespace() && old.GetEpoch() <= x.GetEpoch() && old.GetService() && old.GetKeptSession() == "" {
			delete(r.accounts, key)
		}
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
	if c.Epoch < r.erased[c.Namespace].GetEpoch() {
		return true
	}
	moved := r.accounts[scoped{c.Namespace, c.ID}]
	kept := c.Session != "" && c.Session == moved.GetKeptSession()
	if c.Epoch < moved.GetEpoch() && !kept {
		return true
	}
	if _, ok := r.sessions[scoped{c.Namespace, c.Session}]; ok && c.Session != "" {
		return true
	}
	gone := r.services[c.Namespace]
	if c.Type != Service || c.Epoch >= gone.GetEpoch() || kept {
		return false
	}
	_, lives := slices.BinarySearch(gone.GetLiving(), c.Epoch)
	return !lives
}

// All answers every revocation.
func (r *Revocations) All() []*authpb.Revocation {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]*authpb.Revocation, 0, len(r.accounts)+len(r.sessions)+len(r.services)+len(r.erased))
	for _, x := range r.accounts {
		out = append(out, x)
	}
	for _, x := range r.sessions {
		out = append(out, x)
	}
	for _, x := range r.services {
		out = append(out, x)
	}
	for _, x := range r.erased {
		out = append(out, x)
	}
	return out
}

// Len answers how many revocations there are.
func (r *Revocations) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.accounts) + len(r.sessions) + len(r.services) + len(r.erased)
}

// Prune forgets revocations of tokens that have all expired.
func (r *Revocations) Prune(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	prune(r.accounts, now)
	prune(r.sessions, now)
	prune(r.services, now)
	prune(r.erased, now)
}

func prune[K comparable](m map[K]*authpb.Revocation, now time.Time) {
	for key, x := range m {
		if x.GetExpires() < now.Unix() {
			delete(m, key)
		}
	}
}
