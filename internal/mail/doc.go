// Package mail sends the platform's mail by SMTP. A Queue takes it off the path
// of a request: what a provider cannot take now is tried again until it is of
// no use any more.
package mail
