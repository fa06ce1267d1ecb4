package protogen

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated code of the framework's test service")

// echo is the framework's test service, with every kind of RPC.
const echo = "framework/testdata/echo/"

// TestGenerate compares with generated code that the framework's tests use.
func TestGenerate(t *testing.T) {
	t.Parallel()
	const root = "../.."
	dir := project(t, map[string]string{echo + "echo.proto": read(t, filepath.Join(root, echo, "echo.proto"))})
	files, err := Generate(t.Context(), dir, filepath.Join(dir, echo, "echo.proto"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{echo + "echo.pb.go", echo + "echo.pb.micro.go"}; strings.Join(files, " ") != strings.Join(want, " ") {
		t.Errorf("wrote %q, want %q", files, want)
	}
	for _, name := range files {
		got, golden := read(t, filepath.Join(dir, name)), filepath.Join(root, name)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got != read(t, golden) {
			t.Errorf("%s is not what is generated now; go test -update writes it", name)
		}
	}
}

// project writes files into the root of a new module.
func project(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module github.com/micro/platform\n")
	for name, content := range files {
		write(name, content)
	}
	return dir
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, proto, want string
	}{
		{"syntax", "syntax = \"proto3\";\npackage a;\nmessage M {\n  string name 1;\n}\n", "proto/a.proto:4:15: syntax error"},
		{"unknown type", "syntax = \"proto3\";\npackage a;\nmessage M {\n  Nothing n = 1;\n}\n", "proto/a.proto:4:3: "},
		{"missing import", "syntax = \"proto3\";\npackage a;\nimport \"proto/b.proto\";\n", "proto/a.proto:3:8: "},
		{"same number twice", "syntax = \"proto3\";\npackage a;\nmessage M {\n  string a = 1;\n  string b = 1;\n}\n", "proto/a.proto:5:14: "},
		{"package that Go cannot have", "syntax = \"proto3\";\npackage a.func;\nmessage M {}\n", "no name for its Go package"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := project(t, map[string]string{"proto/a.proto": tt.proto})
			_, err := Generate(t.Context(), dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Generate: %v, want %q", err, tt.want)
			}
			if files, _ := filepath.Glob(filepath.Join(dir, "proto", "*")); len(files) != 1 {
				t.Errorf("files after a mistake: %q", files)
			}
		})
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"proto/a.proto": "syntax = \"proto3\";\npackage a;\nmessage M {\n  No a = 1;\n  Nil b = 2;\n}\n",
	})
	_, err := Generate(t.Context(), dir)
	if err == nil || !strings.Contains(err.Error(), ":4:3: ") || !strings.Contains(err.Error(), ":5:3: ") {
		t.Fatalf("Generate: %v, want both lines", err)
	}
}

func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	if _, err := Generate(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "no go.mod in ") {
		t.Errorf("without go.mod: %v", err)
	}
	if _, err := Generate(t.Context(), project(t, nil)); err == nil || !strings.Contains(err.Error(), "no .proto file below ") {
		t.Errorf("without proto: %v", err)
	}
	if _, err := Generate(t.Context(), project(t, nil), "../x.proto"); err == nil || !strings.Contains(err.Error(), "is not a .proto file below ") {
		t.Errorf("outside: %v", err)
	}
}

// TestImports has two folders that import each other's messages by the root,
// and no go_package that could be imported.
func TestImports(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{
		"proto/a/a.proto": "syntax = \"proto3\";\npackage a;\noption go_package = \"./a;alpha\";\nmessage M {}\n",
		"proto/b/b.proto": "syntax = \"proto3\";\npackage b;\nimport \"proto/a/a.proto\";\nservice B { rpc Do(a.M) returns (a.M); }\n",
	})
	if _, err := Generate(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "proto/a/a.pb.go")); !strings.Contains(got, "\npackage alpha\n") {
		t.Error("the name that go_package gives was not taken")
	}
	if got := read(t, filepath.Join(dir, "proto/b/b.pb.micro.go")); !strings.Contains(got, `"github.com/micro/platform/proto/a"`) {
		t.Errorf("the import is not the module's:\n%s", got)
	}
}

// TestUnchangedIsNotTouched keeps the time of a file that stays as it is.
func TestUnchangedIsNotTouched(t *testing.T) {
	t.Parallel()
	dir := project(t, map[string]string{"proto/a.proto": "syntax = \"proto3\";\npackage a;\nmessage M {}\n"})
	stat := func() os.FileInfo {
		if _, err := Generate(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "proto", "a.pb.go"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if first, second := stat(), stat(); !os.SameFile(first, second) {
		t.Error("written again")
	}
}
