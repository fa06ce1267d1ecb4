// Package oidctest is an issuer of OpenID Connect, and a GitHub, for tests. It
// is as strict as the real ones are with codes, PKCE and redirect addresses, and
// asks nobody for a password: who is at the browser is a field.
package oidctest
