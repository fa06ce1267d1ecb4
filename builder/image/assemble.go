package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/docker/docker/api/types/image"

	"github.com/micro/platform/builder/baseimage"
	"github.com/micro/platform/framework/errors"
)

// checkProgram makes sure that what the container gave is a program that runs
// in an empty image.
func checkProgram(name string) error {
	refuse := func(format string, args ...any) *errors.Error { return errors.NewHTTP(422, format, args...) }
	f, err := elf.Open(name)
	if err != nil {
		return refuse("what was compiled is not a Linux program").Because(err)
	}
	defer f.Close()
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	if f.Class != elf.ELFCLASS64 || want != 0 && f.Machine != want || f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return refuse("what was compiled is not a program for %s", runtime.GOARCH)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return refuse("what was compiled needs libraries of the system: it must be static")
		}
	}
	return nil
}

// home is the home of the program's user. Micro services of all versions keep
// files there. It is open to everybody, which is one user: the scheduler mounts
// memory of root's there, and runc gives that the mode of what lies below.
const home = "/home/micro"

// Assemble makes an image of a program and answers its ID, "sha256:...".
func (b *Builder) Assemble(ctx context.Context, id ID, program string) (string, error) {
	f, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(writeImage(w, f)) }()
	changes := []string{
		"ENV HOME=" + home + " USER=micro SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
		"WORKDIR " + home, "USER 65532:65532", `ENTRYPOINT ["/program"]`,
	}
	for k, v := range b.labels(id) {
		changes = append(changes, fmt.Sprintf("LABEL %s=%q", k, v))
	}
	rsp, err := b.engine.ImageImport(ctx, image.ImportSource{Source: r, SourceName: "-"}, reference(id, b.opts.Cluster), image.ImportOptions{Changes: changes})
	if err != nil {
		return "", fmt.Errorf("import image: %w", err)
	}
	defer rsp.Close()
	return baseimage.ReadImport(rsp)
}

// reference is a name for an image, for people who look at a list of them, and
// so that it is not taken for rubbish. Everything else goes by ID and labels.
func reference(id ID, cluster string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s", cluster, id.Namespace, id.Service, id.Version))
	return fmt.Sprintf("micro/%s/%s:%d-%s", word(id.Namespace), word(id.Service), id.Revision, hex.EncodeToString(sum[:4]))
}

// word makes a part of a reference of a name.
func word(name string) string {
	s := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	if s = strings.Trim(s, "-"); s == "" {
		return "x"
	}
	return s
}

type entry struct {
	header  tar.Header
	content io.Reader
}

func text(name, content string) entry {
	return entry{tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}, strings.NewReader(content)}
}

// writeImage writes the file system of an image.
func writeImage(out io.Writer, program *os.File) error {
	info, err := program.Stat()
	if err != nil {
		return err
	}
	t := tar.NewWriter(out)
	for _, e := range []entry{
		{tar.Header{Name: "etc/", Mode: 0o755}, nil},
		{tar.Header{Name: "etc/ssl/", Mode: 0o755}, nil},
		{tar.Header{Name: "etc/ssl/certs/", Mode: 0o755}, nil},
		text("etc/ssl/certs/ca-certificates.crt", baseimage.Certificates()),
		text("etc/passwd", "root:x:0:0::/:/bin/false\nmicro:x:65532:65532::"+home+":/bin/false\n"),
		text("etc/group", "root:x:0:\nmicro:x:65532:\n"),
		text("etc/nsswitch.conf", "hosts: files dns\n"),
		{tar.Header{Name: "tmp/", Mode: 0o1777}, nil},
		{tar.Header{Name: "home/", Mode: 0o755}, nil},
		{tar.Header{Name: strings.TrimPrefix(home, "/") + "/", Mode: 0o1777, Uid: 65532, Gid: 65532}, nil},
		{tar.Header{Name: "program", Mode: 0o755, Size: info.Size()}, program},
	} {
		if err := t.WriteHeader(&e.header); err != nil {
			return err
		}
		if e.content == nil {
			continue
		}
		if _, err := io.Copy(t, e.content); err != nil {
			return err
		}
	}
	return t.Close()
}
