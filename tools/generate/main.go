// Command generate writes the Go code of every .proto file below proto/, so
// that nobody needs protoc: it compiles them with a library and hands the
// result to the generators pinned in this module. Run it by `make generate`.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// rest is the file that maps RPCs of a proto to the REST API; protos without
// one have no REST API.
const rest = "rest.yaml"

// restOut keeps the REST handlers out of the packages that users import.
const restOut = "gateway/rest"

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: generate PROTO_DIR BIN_DIR")
	}
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		log.Fatal("generate: ", err)
	}
}

func run(ctx context.Context, root, bin string) error {
	var files []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".proto") {
			rel, _ := filepath.Rel(root, path)
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := generate(ctx, root, bin, file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func generate(ctx context.Context, root, bin, file string) error {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(ctx, file)
	if err != nil {
		return err
	}
	desc := protodesc.ToFileDescriptorProto(compiled[0])
	plugins := []plugin{
		{"protoc-gen-go", "paths=source_relative", root},
		{"protoc-gen-go-grpc", "paths=source_relative", root},
	}
	api := filepath.Join(root, filepath.Dir(file), rest)
	if _, err := os.Stat(api); err == nil {
		plugins = append(plugins,
			plugin{"protoc-gen-grpc-gateway", "paths=source_relative,standalone=true,grpc_api_configuration=" + api, restOut},
			plugin{"protoc-gen-openapiv2", "grpc_api_configuration=" + api, restOut})
	}
	for _, p := range plugins {
		if err := p.run(ctx, bin, file, desc); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// A plugin is a program that turns descriptors into files below out.
type plugin struct{ name, param, out string }

func (p plugin) run(ctx context.Context, bin, file string, desc *descriptorpb.FileDescriptorProto) error {
	in, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{file},
		Parameter:      &p.param,
		ProtoFile:      []*descriptorpb.FileDescriptorProto{desc},
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, p.name))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	var answer pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &answer); err != nil {
		return err
	}
	if answer.GetError() != "" {
		return fmt.Errorf("%s", answer.GetError())
	}
	for _, f := range answer.GetFile() {
		path := filepath.Join(p.out, f.GetName())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
