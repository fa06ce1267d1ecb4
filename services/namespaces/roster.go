package namespaces

import (
	"slices"
	"time"

	"github.com/micro/platform/internal/grants"
)

// member is a row of namespaces.members.
type member struct {
	Namespace string
	Account   string
	Mailbox   string
	Role      grants.Role
	Since     time.Time
}

// roster is the members of a namespace, while nobody else changes them.
type roster struct {
	namespace string
	owner     string // the one that is named where one is
	members   []member
	changes   []change
}

// change is a member with its new role; "" is gone. A person who is new brings
// the hash of a password.
type change struct {
	member
	passwordHash string
}

// find answers a member by account, or nil.
func (r *roster) find(account string) *member {
	i := slices.IndexFunc(r.members, func(m member) bool { return m.Account == account })
	if i < 0 {
		return nil
	}
	return &r.members[i]
}

// person answers a member by mailbox, or nil.
func (r *roster) person(mailbox string) *member {
	i := slices.IndexFunc(r.members, func(m member) bool { return m.Mailbox == mailbox })
	if i < 0 {
		return nil
	}
	return &r.members[i]
}

// owners answers those who own the namespace.
func (r *roster) owners() []member {
	return slices.DeleteFunc(slices.Clone(r.members), func(m member) bool { return m.Role != grants.Owner })
}

// set gives a member a role, or removes it: "".
func (r *roster) set(m member, role grants.Role) {
	i := slices.IndexFunc(r.members, func(x member) bool { return x.Account == m.Account })
	if i >= 0 && r.members[i].Role == role {
		return
	}
	m.Role = role
	switch {
	case i < 0:
		r.members = append(r.members, m)
	case role == "":
		r.members = slices.Delete(r.members, i, i+1)
	default:
		r.members[i].Role = role
	}
	r.changes = append(r.changes, change{member: m})
}

// add makes somebody a member who is none.
func (r *roster) add(m member, passwordHash string) {
	r.members = append(r.members, m)
	r.changes = append(r.changes, change{m, passwordHash})
}

// settle names an owner, if the one that was named is none any more; false if
// there is none left.
func (r *roster) settle() bool {
	if m := r.find(r.owner); m != nil && m.Role == grants.Owner {
		return true
	}
	i := slices.IndexFunc(r.members, func(m member) bool { return m.Role == grants.Owner })
	if i < 0 {
		return false
	}
	r.owner = r.members[i].Account
	return true
}
