// Package mail sends the platform's mail by SMTP. An Outbox takes it off the
// path of a request, and keeps it in the component's schema: what a provider
// cannot take now is tried again until it is of no use any more.
package mail
