package protogen

import (
	"context"
	"errors"
	"fmt"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/reporter"
	"golang.org/x/mod/modfile"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// maxErrors is how many mistakes are reported at once.
const maxErrors = 20

// Generate writes the Go code of .proto files beside them, and answers what it
// wrote. dir is the root of a Go module, and imports are relative to it; without
// files it takes all below dir/proto. Nothing is written unless everything
// compiles. A mistake is reported as file:line:column.
func Generate(ctx context.Context, dir string, files ...string) ([]string, error) {
	module, err := modulePath(dir)
	if err != nil {
		return nil, err
	}
	names, err := protoFiles(dir, files)
	if err != nil {
		return nil, err
	}
	compiled, err := compile(ctx, dir, names)
	if err != nil {
		return nil, err
	}
	plugin, err := newPlugin(module, names, compiled)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		file := plugin.FilesByPath[name]
		internal_gengo.GenerateFile(plugin, file)
		generateMicro(plugin, file)
	}
	rsp := plugin.Response()
	if rsp.Error != nil {
		return nil, errors.New(rsp.GetError())
	}
	var written []string
	for _, f := range rsp.GetFile() {
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(f.GetName())), f.GetContent()); err != nil {
			return nil, err
		}
		written = append(written, f.GetName())
	}
	return written, nil
}

// modulePath reads what the module in dir is called.
func modulePath(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no go.mod in %s: run this in the root of a Go module", dir)
	}
	if err != nil {
		return "", err
	}
	module := modfile.ModulePath(b)
	if module == "" {
		return "", fmt.Errorf("%s names no module", filepath.Join(dir, "go.mod"))
	}
	return module, nil
}

// protoFiles answers slash-separated paths relative to dir.
func protoFiles(dir string, files []string) ([]string, error) {
	if len(files) == 0 {
		return walk(dir)
	}
	var names []string
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		abs, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(root, abs)
		if err != nil || !filepath.IsLocal(rel) || path.Ext(rel) != ".proto" {
			return nil, fmt.Errorf("%s is not a .proto file below %s", file, root)
		}
		names = append(names, filepath.ToSlash(rel))
	}
	return names, nil
}

func walk(dir string) ([]string, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(dir), "proto", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path.Ext(name) == ".proto" {
			names = append(names, name)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no .proto file below %s", filepath.Join(dir, "proto"))
	}
	return names, nil
}

// compile answers the files in the order of names, or every mistake found.
func compile(ctx context.Context, dir string, names []string) (linker.Files, error) {
	var mistakes []error
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
		Reporter: reporter.NewReporter(func(err reporter.ErrorWithPos) error {
			mistakes = append(mistakes, mistake(dir, err))
			if len(mistakes) >= maxErrors {
				return err
			}
			return nil
		}, nil),
	}
	compiled, err := compiler.Compile(ctx, names...)
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return compiled, err
}

// mistake shows a file as the person who runs the command would name it.
func mistake(dir string, err reporter.ErrorWithPos) error {
	pos := err.GetPosition()
	name := strings.TrimPrefix(filepath.ToSlash(pos.Filename), filepath.ToSlash(filepath.Clean(dir))+"/")
	return fmt.Errorf("%s:%d:%d: %w", name, pos.Line, pos.Col, err.Unwrap())
}

// newPlugin hands the compiled files to the generators, the way protoc would.
func newPlugin(module string, names []string, compiled linker.Files) (*protogen.Plugin, error) {
	req := &pluginpb.CodeGeneratorRequest{FileToGenerate: names, Parameter: proto.String("paths=source_relative")}
	seen := map[string]bool{}
	var add func(f protoreflect.FileDescriptor) error
	add = func(f protoreflect.FileDescriptor) error {
		if seen[f.Path()] {
			return nil
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() { // what is imported comes first
			if err := add(f.Imports().Get(i).FileDescriptor); err != nil {
				return err
			}
		}
		desc := protodesc.ToFileDescriptorProto(f)
		if !strings.HasPrefix(f.Path(), "google/protobuf/") {
			if err := setPackage(desc, module); err != nil {
				return err
			}
		}
		req.ProtoFile = append(req.ProtoFile, desc)
		return nil
	}
	for _, f := range compiled {
		if err := add(f); err != nil {
			return nil, err
		}
	}
	plugin, err := protogen.Options{}.New(req)
	if err != nil {
		return nil, err
	}
	plugin.SupportedFeatures = internal_gengo.SupportedFeatures
	plugin.SupportedEditionsMinimum = internal_gengo.SupportedEditionsMinimum
	plugin.SupportedEditionsMaximum = internal_gengo.SupportedEditionsMaximum
	return plugin, nil
}

// setPackage makes the Go package of a file the folder that it is in. Its name
// is what go_package says after the semicolon, or the last part of the .proto
// package; go_package itself is not needed, and a path in it not believed, since
// "./proto" and the like could not be imported.
func setPackage(desc *descriptorpb.FileDescriptorProto, module string) error {
	_, name, _ := strings.Cut(desc.GetOptions().GetGoPackage(), ";")
	if name == "" {
		parts := strings.Split(desc.GetPackage(), ".")
		name = parts[len(parts)-1]
	}
	if name == "" {
		name = path.Base(path.Dir(desc.GetName()))
	}
	if !token.IsIdentifier(name) {
		return fmt.Errorf(`%s: no name for its Go package: add a line such as "package helloworld;"`, desc.GetName())
	}
	if desc.Options == nil {
		desc.Options = &descriptorpb.FileOptions{}
	}
	desc.Options.GoPackage = proto.String(path.Join(module, path.Dir(desc.GetName())) + ";" + name)
	return nil
}

// writeFile replaces a file at once, and not at all when it has that content:
// what depends on it need not be built again.
func writeFile(name, content string) error {
	if old, err := os.ReadFile(name); err == nil && string(old) == content {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".gen-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // no file any more once it is renamed
	_, err = tmp.WriteString(content)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(tmp.Name(), name)
}
