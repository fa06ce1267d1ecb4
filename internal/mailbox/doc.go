// Package mailbox reads email addresses, and knows which of them are spellings of
// one mailbox.
package mailbox
