package archive

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Text is bytes as a line has them: as a string if they are text, in base64 if
// not.
type Text struct {
	Text   *string `json:"text,omitempty"`
	Base64 []byte  `json:"base64,omitempty"`
}

// ToText answers bytes as a line has them.
func ToText(b []byte) Text {
	if s := string(b); isText(s) {
		return Text{Text: &s}
	}
	return Text{Base64: b}
}

// isText says whether a reader of lines would recognize it.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t'
	})
}

// Bytes answers what ToText was given.
func (t Text) Bytes() []byte {
	if t.Text != nil {
		return []byte(*t.Text)
	}
	return t.Base64
}

// Record is a line of a table.
type Record struct {
	Key      string            `json:"key"`
	Value    Text              `json:"value"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// Expires is when it ends; nil is never.
	Expires *time.Time `json:"expires,omitempty"`
	Version int64      `json:"version"`
}

// Blob is the header of a blob.
type Blob struct {
	Key         string    `json:"key"`
	ContentType string    `json:"content_type,omitempty"`
	Public      bool      `json:"public,omitempty"`
	Written     time.Time `json:"written"`
}

// Event is a line of a topic.
type Event struct {
	ID        string            `json:"id"`
	Timestamp time.Time         `json:"timestamp"`
	Metadata  map[string]string `json:"metadata,omitempty"`
	Payload   Text              `json:"payload"`
}

// Group is where a group of a topic is.
type Group struct {
	Topic string `json:"topic"`
	Name  string `json:"name"`
	// Last is the event that was sent last, FirstPending the oldest that was sent
	// and is not acknowledged.
	Last         string `json:"last,omitempty"`
	FirstPending string `json:"first_pending,omitempty"`
}

// Value is a leaf of the config. Of a secret there is no value, but with a
// passphrase what it is as JSON, sealed.
type Value struct {
	Path   string          `json:"path"`
	Value  json.RawMessage `json:"value,omitempty"`
	Secret bool            `json:"secret,omitempty"`
	Sealed []byte          `json:"sealed,omitempty"`
}

// Place is what the secret is bound to.
func (v Value) Place() string { return "config\n" + v.Path }

// Change is a version that the config had.
type Change struct {
	Version  int64     `json:"version"`
	Action   string    `json:"action"`
	Path     string    `json:"path"`
	Account  string    `json:"account"`
	Created  time.Time `json:"created"`
	Restored int64     `json:"restored,omitempty"`
}

// Member is one of the namespace's people.
type Member struct {
	Account string    `json:"account"`
	Role    string    `json:"role"`
	Since   time.Time `json:"since"`
}

// Account is one of the namespace's accounts, without its secret.
type Account struct {
	ID       string            `json:"id"`
	Type     string            `json:"type"`
	Name     string            `json:"name,omitempty"`
	Scopes   []string          `json:"scopes,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// Rule says who may call what.
type Rule struct {
	ID       string `json:"id"`
	Scope    string `json:"scope"`
	Access   string `json:"access"` // "granted" or "denied"
	Type     string `json:"type"`
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
	Priority int32  `json:"priority"`
}

// Limits are what the namespace might take.
type Limits struct {
	Plan   string           `json:"plan"`
	Limits map[string]int64 `json:"limits"`
}

// Service is what is wanted of a service. It is the header of the source that
// was uploaded for it, a tar, which may be missing.
type Service struct {
	Name       string            `json:"name"`
	Version    string            `json:"version"`
	Source     string            `json:"source"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Owner      string            `json:"owner"`
	Entrypoint string            `json:"entrypoint,omitempty"`
	Instances  int64             `json:"instances"`
	Env        []string          `json:"env,omitempty"`
	// Secrets are those of its environment by name, sealed or null.
	Secrets map[string][]byte `json:"secrets,omitempty"`
	Command []string          `json:"command,omitempty"`
	Args    []string          `json:"args,omitempty"`
	// Limited says that it could do only what Grants allow, since an API token had
	// deployed it.
	Limited   bool       `json:"limited,omitempty"`
	Grants    []string   `json:"grants,omitempty"`
	Revisions []Revision `json:"revisions"`
}

// Key names the service.
func (s Service) Key() string { return s.Name + ":" + s.Version }

// Place is what a secret of the service is bound to.
func (s Service) Place(name string) string { return "service " + s.Key() + "\n" + name }

// Revision is an attempt to run a service.
type Revision struct {
	Number int64 `json:"number"`
	// Status is 1 pending, 2 building, 3 starting, 4 running, 5 stopping, 6 stopped,
	// 7 error.
	Status  int32     `json:"status"`
	Detail  string    `json:"detail,omitempty"`
	Author  string    `json:"author,omitempty"`
	Created time.Time `json:"created"`
	Since   time.Time `json:"since"`
	Source  string    `json:"source"`
	Commit  string    `json:"commit,omitempty"`
}
