package source

import (
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ignoreFiles are read in every directory, the later one winning.
var ignoreFiles = []string{".gitignore", ".microignore"}

// pattern is a line of an ignore file.
type pattern struct {
	base    string // directory of the file, relative to the root, "" for the root
	glob    string
	include bool // the line starts with !
	dirOnly bool // it ends with /
	whole   bool // it has a / before its end, so it is about the path from base
}

// readIgnores adds the patterns of a directory's ignore files. What cannot be
// read ignores nothing.
func readIgnores(root, dir string, patterns []pattern) []pattern {
	for _, name := range ignoreFiles {
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(dir), name))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if p, ok := parsePattern(dir, line); ok {
				patterns = append(patterns[:len(patterns):len(patterns)], p)
			}
		}
	}
	return patterns
}

func parsePattern(base, line string) (pattern, bool) {
	line = strings.TrimRight(line, " \t\r\n")
	if line == "" || strings.HasPrefix(line, "#") {
		return pattern{}, false
	}
	p := pattern{base: base}
	line, p.include = strings.CutPrefix(line, "!")
	if strings.HasSuffix(line, "/") {
		p.dirOnly, line = true, strings.TrimSuffix(line, "/")
	}
	line = strings.TrimPrefix(line, "**/")
	p.whole = strings.Contains(line, "/")
	p.glob = strings.TrimSuffix(strings.TrimPrefix(line, "/"), "/**")
	if _, err := path.Match(p.glob, ""); err != nil || p.glob == "" {
		return pattern{}, false
	}
	return p, true
}

func (p pattern) matches(name string, dir bool) bool {
	if p.dirOnly && !dir {
		return false
	}
	if p.base != "" {
		name = strings.TrimPrefix(name, p.base+"/")
	}
	if !p.whole {
		name = path.Base(name)
	}
	ok, _ := path.Match(p.glob, name)
	return ok
}

// ignored says whether a path is left out: the last pattern that is about it
// decides.
func ignored(patterns []pattern, name string, dir bool) bool {
	switch path.Base(name) {
	case ".git":
		return true
	case "node_modules":
		return dir
	}
	out := false
	for _, p := range patterns {
		if p.matches(name, dir) {
			out = !p.include
		}
	}
	return out
}
