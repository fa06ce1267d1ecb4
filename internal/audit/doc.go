// Package audit tells the component audit what a component is asked to do,
// before it does it, and how it ended after that. It sits in every component's
// server, where the caller is verified and the request is read.
//
// Told is every call that changes something, but for what services do all day
// long: records, messages, events, registrations, tokens. And everything that an
// operator does in another namespace, reading too. A new method that is not
// known to read is told of from its first day on.
package audit
