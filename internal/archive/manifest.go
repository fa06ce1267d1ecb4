package archive

import "time"

// Format is the version of the format. Readers refuse others.
const Format = 1

// The first and the last file of an archive.
const (
	aboutFile    = "about.json"
	manifestFile = "manifest.json"
)

// About is what an archive says of itself at its beginning.
type About struct {
	Format    int       `json:"format"`
	Namespace string    `json:"namespace"`
	Created   time.Time `json:"created"`
	// Server is the version of the server that wrote it.
	Server string `json:"server"`
	// Sealed says how secrets are sealed; nil when they were left out.
	Sealed *Sealed `json:"sealed,omitempty"`
}

// Kind says what the records of a part are.
type Kind string

// The kinds of parts.
const (
	Plan          Kind = "plan"
	Members       Kind = "members"
	Accounts      Kind = "accounts"
	Rules         Kind = "rules"
	Config        Kind = "config"
	ConfigHistory Kind = "config_history"
	Store         Kind = "store"
	Blobs         Kind = "blobs"
	Events        Kind = "events"
	Groups        Kind = "groups"
	Usage         Kind = "usage"
	Audit         Kind = "audit"
	Services      Kind = "services"
)

// Part is a folder of an archive.
type Part struct {
	// Name is the folder.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Of is the table or the topic that the records are of.
	Of string `json:"of,omitempty"`
	// Records is how many there are: lines, or objects.
	Records int64 `json:"records"`
	Files   int64 `json:"files"`
	Bytes   int64 `json:"bytes"`
	// SHA256 is of the contents of the files, one after the other, in hexadecimal.
	SHA256 string `json:"sha256"`
}

// Manifest is the end of an archive.
type Manifest struct {
	About
	// Parts are in the order of the archive.
	Parts []Part `json:"parts"`
}

// Bounds of what is read. Writer stays far below them.
const (
	maxFile     = 64 << 20
	maxManifest = 64 << 20
	maxAbout    = 64 << 10
	maxParts    = 100_000
	maxTotal    = 1 << 40 // bytes of all files
)
