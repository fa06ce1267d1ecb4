package detect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// incomplete is how the go command says that go.mod or go.sum, or the copies in
// vendor, do not hold all that a build needs.
var incomplete = []string{"missing go.sum entry", "updates to go.mod needed", "inconsistent vendoring"}

// stale are modules that refuse to be compiled by a Go newer than themselves,
// and the oldest version that every supported Go compiles and that what
// required an older one can still use. Micro v3.19 needs the first.
var stale = []module.Version{
	{Path: "github.com/quic-go/quic-go", Version: "v0.43.1"},
	{Path: "golang.org/x/tools", Version: "v0.24.1"},
}

// unlinked is how the linker says that a module uses what Go has closed since.
const unlinked = "invalid reference to "

// Mend answers a plan that may get further than one that failed for a reason
// which is not the code's: a source that is older than the builder's Go, or
// whose go.mod was never brought up to date. note says what was changed, and
// is empty when there is nothing to try.
func Mend(root string, p Plan, reason string) (mended Plan, note string, err error) {
	var notes []string
	for _, m := range stale {
		if !strings.Contains(reason, "# "+m.Path) {
			continue
		}
		raised, err := raise(filepath.Join(root, p.Module, "go.mod"), m)
		if err != nil {
			return p, "", err
		}
		if raised {
			p.Resolve, p.Vendor = true, false
			notes = append(notes, fmt.Sprintf("this Go does not compile the %s that go.mod asks for: taking %s", m.Path, m.Version))
		}
	}
	for _, text := range incomplete {
		if strings.Contains(reason, text) && !p.Resolve {
			p.Resolve, p.Vendor = true, false
			notes = append(notes, `go.mod and go.sum are incomplete: completing them for this build; "go mod tidy" does it for good`)
		}
	}
	if strings.Contains(reason, unlinked) && !p.OldLinks {
		p.OldLinks = true
		notes = append(notes, "a module uses what Go has closed since: linking as older versions did")
	}
	return p, strings.Join(notes, "\n"), nil
}

// raise makes a go.mod require at least a version, and answers whether it did
// not before.
func raise(name string, want module.Version) (bool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	f, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		return false, err
	}
	for _, r := range f.Require {
		if r.Mod.Path == want.Path && semver.Compare(r.Mod.Version, want.Version) >= 0 {
			return false, nil
		}
	}
	if err := f.AddRequire(want.Path, want.Version); err != nil {
		return false, err
	}
	f.Cleanup()
	if text, err = f.Format(); err != nil {
		return false, err
	}
	// The file of a source may not be writable, and is replaced.
	if err := os.Remove(name); err != nil {
		return false, err
	}
	return true, os.WriteFile(name, text, 0o644)
}
