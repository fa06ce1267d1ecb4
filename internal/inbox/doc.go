// Package inbox takes mail by SMTP and shows it, so that sign-up works in
// development without a mail provider. It keeps the newest messages in memory
// and passes nothing on.
//
// GET / is a page to read; GET /messages?to=ADDRESS is the same as JSON, newest
// first.
package inbox
