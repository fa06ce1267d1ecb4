package edge

import (
	"strings"

	"github.com/micro/platform/internal/reserved"
)

// spending are the components whose calls are held, as calls to services are,
// when a namespace has used up what its plan or a budget gives it. The others
// are there to log in, to see why, to pay, and to take what one has along.
var spending = map[string]bool{"broker": true, "config": true, "events": true, "runtime": true, "store": true}

// goesOn are the methods of those that are taken all the same: they show what
// there is, in short, or remove it.
var goesOn = map[string]bool{
	"config config.delete": true,

	"events groups.delete": true,
	"events groups.list":   true,
	"events topics.delete": true,
	"events topics.list":   true,

	"runtime build.read":        true,
	"runtime runtime.crashes":   true,
	"runtime runtime.delete":    true,
	"runtime runtime.logs":      true,
	"runtime runtime.read":      true,
	"runtime runtime.revisions": true,
	"runtime runtime.watch":     true,

	"store blobstore.delete": true,
	"store store.databases":  true,
	"store store.delete":     true,
	"store store.droptable":  true,
	"store store.tables":     true,
	"store store.usage":      true,
}

// spends says whether a call is held when nothing is left to spend.
func spends(service, endpoint string) bool {
	if !reserved.Service(service) {
		return true
	}
	return spending[service] && !goesOn[strings.ToLower(service+" "+endpoint)]
}
