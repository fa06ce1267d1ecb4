// Package detect finds out what a source is and what of it to build: today a
// Go module with a main package. It reads untrusted files and runs none.
package detect

import (
	"errors"
	"go/build"
	"go/version"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"google.golang.org/grpc/codes"

	microerrors "github.com/micro/platform/framework/errors"
)

// Plan says how to build a source.
type Plan struct {
	Module  string // folder of go.mod, below the root of the source; "." is the root
	Package string // folder of the main package, below Module; "." is Module itself
	Vendor  bool   // the source brings its dependencies along
	// Resolve lets the build complete go.mod and go.sum, in a copy.
	Resolve bool
	// OldLinks lets modules reach into the standard library, as they could
	// before Go 1.23.
	OldLinks bool
}

// maxModFile bounds the go.mod that is read. Real ones are below 100 KiB.
const maxModFile = 1 << 20

// Detect looks at the folder of a source, which lies in root. goVersion is that
// of the builder, "go1.26.1"; empty is unknown.
func Detect(root, folder, goVersion string) (Plan, error) {
	dir := filepath.Join(root, folder)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return Plan{}, refuse("folder %q not found in the source", folder)
	}
	if err := mainPackage(root, folder); err != nil {
		return Plan{}, err
	}
	module, err := findModule(root, folder)
	if err != nil {
		return Plan{}, err
	}
	if err := checkModule(root, module, goVersion); err != nil {
		return Plan{}, err
	}
	rel, err := filepath.Rel(module, folder)
	if err != nil {
		return Plan{}, err
	}
	_, err = os.Stat(filepath.Join(root, module, "vendor", "modules.txt"))
	return Plan{Module: module, Package: rel, Vendor: err == nil}, nil
}

// mainPackage makes sure that there is one in the folder, with the constraints
// of the system that it is built for.
func mainPackage(root, folder string) error {
	target := build.Default
	target.GOOS, target.CgoEnabled = "linux", false
	p, err := target.ImportDir(filepath.Join(root, folder), 0)
	var none *build.NoGoError
	var several *build.MultiplePackageError
	switch {
	case errors.As(err, &none):
		return noMain(root, folder)
	case errors.As(err, &several):
		return refuse("no Go main package in %s: its files are of packages %s", name(folder), strings.Join(several.Packages, " and "))
	case err != nil:
		return refuse("%s", strings.ReplaceAll(err.Error(), root+"/", ""))
	case p.Name != "main":
		return refuse("no Go main package in %s: the package there is %q", name(folder), p.Name)
	}
	return nil
}

// noMain says what there is instead of a main package.
func noMain(root, folder string) error {
	if _, err := os.Stat(filepath.Join(root, folder, "Dockerfile")); err == nil {
		return refuse("no Go main package in %s: there is a Dockerfile, but building from one is not supported yet", name(folder))
	}
	for _, below := range []string{"cmd", "."} {
		entries, err := os.ReadDir(filepath.Join(root, folder, below))
		if err != nil {
			continue
		}
		for _, e := range entries {
			candidate := path.Join(folder, below, e.Name())
			if e.IsDir() && mainIn(root, candidate) {
				return refuse("no Go main package in %s: there is one in %q, name that folder", name(folder), candidate)
			}
		}
	}
	return refuse("no Go main package in %s", name(folder))
}

func mainIn(root, folder string) bool {
	p, err := build.ImportDir(filepath.Join(root, folder), 0)
	return err == nil && p.Name == "main"
}

// findModule answers the folder of the nearest go.mod at or above the folder.
func findModule(root, folder string) (string, error) {
	for dir := path.Clean(filepath.ToSlash(folder)); ; dir = path.Dir(dir) {
		if info, err := os.Stat(filepath.Join(root, dir, "go.mod")); err == nil && info.Mode().IsRegular() {
			return dir, nil
		}
		if dir == "." {
			return "", refuse("no go.mod in %s or above it: run \"go mod init\" and \"go mod tidy\" there", name(folder))
		}
	}
}

func checkModule(root, module, goVersion string) error {
	file := path.Join(module, "go.mod")
	info, err := os.Stat(filepath.Join(root, file))
	if err != nil {
		return err
	}
	if info.Size() > maxModFile {
		return refuse("%s is larger than 1 MiB", file)
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return err
	}
	mod, err := modfile.ParseLax(file, text, nil) // finds the go line even in a file of the future
	if err == nil {
		if err := checkVersion(mod, file, goVersion); err != nil {
			return err
		}
		mod, err = modfile.Parse(file, text, nil)
	}
	if err != nil {
		return refuse("%v", err)
	}
	if err := checkVersion(mod, file, goVersion); err != nil { // now with the toolchain line
		return err
	}
	for _, r := range mod.Replace {
		if r.New.Version != "" {
			continue
		}
		to := filepath.ToSlash(r.New.Path)
		if path.IsAbs(to) || !fs.ValidPath(path.Join(module, to)) {
			return refuse("%s: replace %s => %s leads out of the source, where the builder has nothing", file, r.Old.Path, r.New.Path)
		}
	}
	return nil
}

// checkVersion refuses what our Go cannot build. The toolchain line asks for a
// release; only one of a newer language version is refused, since a later
// patch of the same one builds the same code.
func checkVersion(mod *modfile.File, file, ours string) error {
	if ours == "" {
		return nil
	}
	if mod.Go != nil && version.Compare("go"+mod.Go.Version, ours) > 0 {
		return refuse("%s asks for Go %s, the builder has %s: lower the go line", file, mod.Go.Version, strings.TrimPrefix(ours, "go"))
	}
	if mod.Toolchain != nil && version.Compare(version.Lang(mod.Toolchain.Name), version.Lang(ours)) > 0 {
		return refuse("%s asks for toolchain %s, the builder has %s: lower or remove the toolchain line", file, mod.Toolchain.Name, ours)
	}
	return nil
}

func name(folder string) string {
	if folder == "." {
		return "the root of the source"
	}
	return `folder "` + folder + `"`
}

func refuse(format string, args ...any) error {
	return microerrors.New(codes.InvalidArgument, format, args...)
}
