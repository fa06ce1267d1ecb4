package grants

import (
	"strings"

	"github.com/micro/platform/internal/reserved"
)

// Role is what a member of a namespace is there.
type Role string

// The roles.
const (
	Owner     Role = "owner"
	Admin     Role = "admin"
	Developer Role = "developer"
	Viewer    Role = "viewer"
	Billing   Role = "billing"
	// Unenrolled is a member of a namespace that wants a second factor, until
	// there is one. Nobody is given it.
	Unenrolled Role = "unenrolled"
	// Deployed is a deployed revision: a developer's, as whoever deploys is one at
	// least, but without an account to see to. Nobody is given it.
	Deployed Role = "deployed"
)

// Roles are those that a member may be given, the strongest first.
var Roles = []Role{Owner, Admin, Developer, Viewer, Billing}

// scopePrefix is before a role among the scopes of an account, where what a
// tenant has called a scope is no role.
const scopePrefix = "role:"

// Scope is how the role stands among the scopes of an account.
func (r Role) Scope() string { return scopePrefix + string(r) }

// IsRoleScope says whether a scope stands for a role, so that no tenant may
// give it.
func IsRoleScope(scope string) bool { return strings.HasPrefix(scope, scopePrefix) }

// RoleIn answers the role among scopes, or "" for an account that is no member.
func RoleIn(scopes []string) Role {
	for _, s := range scopes {
		if r, ok := strings.CutPrefix(s, scopePrefix); ok {
			return Role(r)
		}
	}
	return ""
}

// May says whether the role allows a call, apart from what the callee and the
// rules of the namespace say. A role that is not known allows what is open to
// everybody.
func (r Role) May(service, endpoint string) bool {
	name := strings.ToLower(service + " " + endpoint)
	switch kind := kindOf(service, endpoint); {
	case kind == open || r == Owner:
		return true
	case r == Admin:
		return !owners[name] && !strings.EqualFold(service, "billing")
	case !reserved.Service(strings.ToLower(service)):
		return r == Developer || r == Deployed || r == Viewer && kind == read
	case own[name]:
		return r == Developer || r == Viewer || r == Billing || r == Unenrolled && enrolment[name]
	case admins[name]:
		return false
	case r == Developer:
		return kind == read || develops[strings.ToLower(service)]
	case r == Deployed:
		return kind == read || develops[strings.ToLower(service)] || deployed[name]
	case r == Billing:
		return bills[name]
	default:
		return r == Viewer && kind == read
	}
}

// own are the methods with which members see to themselves, whatever their
// role.
var own = map[string]bool{
	"auth accounts.changesecret":      true,
	"auth devices.approve":            true,
	"auth devices.get":                true,
	"auth factors.confirm":            true,
	"auth factors.enrol":              true,
	"auth factors.get":                true,
	"auth factors.recover":            true,
	"auth factors.remove":             true,
	"auth passkeys.beginregistration": true,
	"auth passkeys.list":              true,
	"auth passkeys.register":          true,
	"auth passkeys.remove":            true,
	"auth people.switch":              true,
	"auth providers.beginlink":        true,
	"auth providers.link":             true,
	"auth providers.links":            true,
	"auth providers.unlink":           true,
	"auth sessions.list":              true,
	"auth sessions.revoke":            true,
	"auth tokens.create":              true,
	"auth tokens.list":                true,
	"auth tokens.revoke":              true,
	"namespaces members.leave":        true,
	"namespaces namespaces.list":      true,
	// A namespace of one's own has nothing to do with this one.
	"namespaces namespaces.create": true,
}

// enrolment is what leads to a second factor, or away.
var enrolment = map[string]bool{
	"auth factors.confirm":            true,
	"auth factors.enrol":              true,
	"auth factors.get":                true,
	"auth passkeys.beginregistration": true,
	"auth passkeys.list":              true,
	"auth passkeys.register":          true,
	"auth people.switch":              true,
	"namespaces members.leave":        true,
	"namespaces namespaces.list":      true,
}

// owners are the methods that are for owners only.
var owners = map[string]bool{
	"namespaces members.transfer":     true,
	"namespaces namespaces.configure": true,
	"namespaces namespaces.delete":    true,
	"namespaces namespaces.undelete":  true,
}

// admins are reads that are for admins only.
var admins = map[string]bool{
	"audit audit.export":      true,
	"audit audit.list":        true,
	"audit audit.verify":      true,
	"auth accounts.list":      true,
	"auth rules.explain":      true,
	"namespaces invites.list": true,
}

// develops are the components that developers change.
var develops = map[string]bool{
	"broker": true, "config": true, "events": true, "runtime": true, "store": true,
}

// deployed is what of those who are no admins only a deployed revision may: to
// say where it is, since edges send calls and their tokens there, and to make
// accounts for the people who use it, of which auth sees that they may nothing.
var deployed = map[string]bool{
	"auth auth.generate":           true,
	"registry registry.deregister": true,
	"registry registry.register":   true,
}

// bills is what those see who pay.
var bills = map[string]bool{
	"namespaces namespaces.get":         true,
	"namespaces namespaces.getdeletion": true,
	"namespaces plans.limits":           true,
	"namespaces plans.list":             true,
	"usage budgets.delete":              true,
	"usage budgets.get":                 true,
	"usage budgets.set":                 true,
	"usage usage.export":                true,
	"usage usage.read":                  true,
}
