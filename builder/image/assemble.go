package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/micro/platform/builder/baseimage"
)

// home is the home of the program's user. Micro services of all versions keep
// files there. It is open to everybody, which is one user: the scheduler mounts
// memory of root's there, and runc gives that the mode of what lies below.
const home = "/home/micro"

// Assemble makes an image of a program, and answers what to start it by: its ID
// in Docker, "sha256:...", or where images are pushed "repository@sha256:...".
// It leaves files beside the program. The same program makes the same layers.
func (b *Builder) Assemble(ctx context.Context, id ID, program string) (string, error) {
	img, err := b.make(id, program)
	if err != nil {
		return "", err
	}
	if b.registry != nil {
		return b.registry.push(ctx, id, img)
	}
	return b.load(ctx, id, img)
}

// make makes an image of two layers: what all programs have, and the program.
func (b *Builder) make(id ID, program string) (v1.Image, error) {
	f, err := os.Open(program)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	dir, compressed := filepath.Dir(program), b.registry != nil // Docker on this host would only unpack it again
	common, err := newLayer(filepath.Join(dir, "common.layer"), compressed, commonFiles()...)
	if err != nil {
		return nil, err
	}
	own, err := newLayer(filepath.Join(dir, "program.layer"), compressed, entry{tar.Header{Name: "program", Mode: 0o755, Size: info.Size()}, f})
	if err != nil {
		return nil, err
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{
		Env:        []string{"HOME=" + home, "USER=micro", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
		WorkingDir: home, User: "65532:65532", Entrypoint: []string{"/program"}, Labels: b.labels(id),
	}})
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, common, own)
}

// load gives an image to the Docker of this host.
func (b *Builder) load(ctx context.Context, id ID, img v1.Image) (string, error) {
	name := reference(id, b.opts.Cluster)
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(writeArchive(w, name, img)) }()
	rsp, err := b.engine.ImageLoad(ctx, r)
	if err != nil {
		return "", fmt.Errorf("load image: %w", err)
	}
	defer rsp.Body.Close()
	if err := readLoad(rsp.Body); err != nil {
		return "", err
	}
	loaded, err := b.engine.ImageInspect(ctx, name)
	if err != nil {
		return "", fmt.Errorf("look for the image that was loaded: %w", err)
	}
	return loaded.ID, nil
}

// readLoad reads Docker's answer to a load.
func readLoad(r io.Reader) error {
	d := json.NewDecoder(r)
	for {
		var m struct{ Error string }
		if err := d.Decode(&m); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("read answer of load: %w", err)
		}
		if m.Error != "" {
			return fmt.Errorf("load image: %s", m.Error)
		}
	}
}

// writeArchive writes an image as Docker loads it.
func writeArchive(out io.Writer, name string, img v1.Image) error {
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	sum := sha256.Sum256(config)
	index := []struct {
		Config           string
		RepoTags, Layers []string
	}{{Config: hex.EncodeToString(sum[:]) + ".json", RepoTags: []string{name}}}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	files := []entry{file(index[0].Config, config)}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return err
		}
		size, err := l.Size()
		if err != nil {
			return err
		}
		content, err := l.Compressed()
		if err != nil {
			return err
		}
		defer content.Close()
		index[0].Layers = append(index[0].Layers, digest.Hex+".tar")
		files = append(files, entry{tar.Header{Name: digest.Hex + ".tar", Mode: 0o644, Size: size}, content})
	}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return writeTar(out, append(files, file("manifest.json", text)))
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

// commonFiles is what is in every image, beside the program.
func commonFiles() []entry {
	return []entry{
		{tar.Header{Name: "etc/", Mode: 0o755}, nil},
		{tar.Header{Name: "etc/ssl/", Mode: 0o755}, nil},
		{tar.Header{Name: "etc/ssl/certs/", Mode: 0o755}, nil},
		file("etc/ssl/certs/ca-certificates.crt", []byte(baseimage.Certificates())),
		file("etc/passwd", []byte("root:x:0:0::/:/bin/false\nmicro:x:65532:65532::"+home+":/bin/false\n")),
		file("etc/group", []byte("root:x:0:\nmicro:x:65532:\n")),
		file("etc/nsswitch.conf", []byte("hosts: files dns\n")),
		{tar.Header{Name: "tmp/", Mode: 0o1777}, nil},
		{tar.Header{Name: "home/", Mode: 0o755}, nil},
		{tar.Header{Name: strings.TrimPrefix(home, "/") + "/", Mode: 0o1777, Uid: 65532, Gid: 65532}, nil},
	}
}

// entry is one of a tar.
type entry struct {
	header  tar.Header
	content io.Reader
}

func file(name string, content []byte) entry {
	return entry{tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}, bytes.NewReader(content)}
}

func writeTar(out io.Writer, entries []entry) error {
	t := tar.NewWriter(out)
	for _, e := range entries {
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
