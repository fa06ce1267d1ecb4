package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreats keeps docs/threats.md true: every threat and every experiment is
// there, and has tests that exist, or says what is missing.
func TestThreats(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/threats.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			rows[strings.TrimSpace(cells[1])] = line
		}
	}
	named := regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	existing := map[string]map[string]bool{}
	check := func(id string) {
		row, ok := rows[id]
		tests := named.FindAllStringSubmatch(row, -1)
		if !ok || len(tests) == 0 && !strings.Contains(row, "not yet") {
			t.Errorf("%s has no row, or no test and no word of what is missing", id)
		}
		for _, x := range tests {
			folder, name := x[1], x[2]
			if existing[folder] == nil {
				existing[folder] = testsOf(t, filepath.Join("..", folder))
			}
			if !existing[folder][name] {
				t.Errorf("%s: there is no %s in %s", id, name, folder)
			}
		}
	}
	for n := range 30 {
		check(fmt.Sprintf("T%d", n+1))
	}
	for n := range 13 {
		check(fmt.Sprintf("S%d", n+1))
	}
}

// testsOf answers the names of the tests in a folder.
func testsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				out[fn.Name.Name] = true
			}
		}
	}
	return out
}
