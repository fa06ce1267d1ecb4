// Package provider signs people in with an account elsewhere: OpenID Connect,
// or GitHub's OAuth 2.0. It keeps nothing; what has to be remembered between
// sending the browser away and its return is the caller's.
package provider
