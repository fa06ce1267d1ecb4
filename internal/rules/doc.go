// Package rules decides who may call what in a namespace. It is pure: the rules,
// the caller and the resource go in, the decision comes out.
//
// Rules guard a namespace's own services. The platform's services are guarded
// in their handlers, so that no rule can lock a namespace out of auth.
package rules
