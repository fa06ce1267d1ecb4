package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/terminal"
	storepb "github.com/micro/platform/proto/store"
)

func (c *cli) storeBlob() *cobra.Command {
	return group("blob", "Read and write the blobs of the namespace: values up to 100 MiB",
		c.blobPut(), c.blobGet(), c.blobList(), c.blobDelete())
}

func (x *client) blobs() storepb.BlobStoreClient { return storepb.NewBlobStoreClient(x.Conn) }

// blobChunk is how much of a blob one message carries.
const blobChunk = 64 << 10

func (c *cli) blobPut() *cobra.Command {
	var o tableFlags
	var contentType string
	var public bool
	cmd := &cobra.Command{
		Use: "put KEY FILE", Args: exactly("KEY", "FILE"),
		Short: "Write a blob from a file, or - for the input",
		Long:  "Readers see the old blob until all of the new one has come. Breaking off leaves the old one.",
	}
	o.addDatabase(cmd)
	cmd.Flags().StringVar(&contentType, "content-type", "", "content type to store with the blob, such as image/png")
	cmd.Flags().BoolVar(&public, "public", false, "mark the blob as public")
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		in, size, err := c.blobInput(args[1])
		if err != nil {
			return err
		}
		defer in.Close()
		g := newGauge(c.Err, args[0], size)
		defer g.end()
		return x.putBlob(ctx, &storepb.BlobWriteRequest{
			Key: args[0], Options: &storepb.BlobOptions{Namespace: o.in(x), ContentType: contentType, Public: public},
		}, io.TeeReader(in, g))
	})
	return cmd
}

// blobInput opens a file, or the input, whose size is unknown: 0.
func (c *cli) blobInput(path string) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(os.Stdin), 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = usage("%s is a directory", path)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// putBlob sends a blob. The first message says which.
func (x *client) putBlob(ctx context.Context, m *storepb.BlobWriteRequest, in io.Reader) error {
	ctx, breakOff := context.WithCancel(ctx)
	defer breakOff() // before the end of the stream nothing is written
	stream, err := x.blobs().Write(ctx)
	if err != nil {
		return err
	}
	buf := make([]byte, blobChunk)
	for first := true; ; first = false {
		n, err := io.ReadFull(in, buf)
		if n > 0 || first && err == io.EOF { // an empty blob is one, too
			m.Blob = buf[:n]
			if sent := stream.Send(m); sent != nil && sent != io.EOF {
				return sent
			} else if sent == io.EOF {
				break // the answer says why
			}
			m = &storepb.BlobWriteRequest{}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return err
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}

func (c *cli) blobGet() *cobra.Command {
	var o tableFlags
	cmd := &cobra.Command{
		Use: "get KEY FILE", Args: exactly("KEY", "FILE"),
		Short: "Write a blob to a file, or - for the output",
	}
	o.addDatabase(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		stream, err := x.blobs().Read(ctx, &storepb.BlobReadRequest{Key: args[0], Options: &storepb.BlobOptions{Namespace: o.in(x)}})
		if err != nil {
			return err
		}
		g := newGauge(c.Err, args[0], 0)
		defer g.end()
		receive := func(out io.Writer) error {
			for {
				rsp, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				if _, err := io.MultiWriter(out, g).Write(rsp.GetBlob()); err != nil {
					return err
				}
			}
		}
		if args[1] == "-" {
			return receive(c.Out)
		}
		return wholeFile(args[1], receive)
	})
	return cmd
}

// wholeFile writes a file that gets its name when it is whole.
func wholeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func (c *cli) blobList() *cobra.Command {
	var o tableFlags
	cmd := &cobra.Command{Use: "list [PREFIX]", Short: "List the blobs", Args: atMost(1)}
	o.addDatabase(cmd)
	asJSON := outputFlag(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		req := &storepb.BlobListOptions{Namespace: o.in(x)}
		if len(args) > 0 {
			req.Prefix = args[0]
		}
		rsp, err := x.blobs().List(ctx, &storepb.BlobListRequest{Options: req})
		if err != nil {
			return err
		}
		if inJSON {
			all := make([]storedBlob, 0, len(rsp.GetBlobs()))
			for _, b := range rsp.GetBlobs() {
				all = append(all, storedBlob{b.GetKey(), b.GetBytes(), b.GetContentType(), b.GetPublic(), time.Unix(b.GetWritten(), 0).UTC()})
			}
			return c.JSON(all)
		}
		rows := [][]string{{"KEY", "BYTES", "TYPE", "WRITTEN"}}
		for _, b := range rsp.GetBlobs() {
			rows = append(rows, []string{b.GetKey(), strconv.FormatInt(b.GetBytes(), 10), b.GetContentType(), time.Unix(b.GetWritten(), 0).UTC().Format(time.RFC3339)})
		}
		return c.Table(rows)
	})
	return cmd
}

// storedBlob is a blob as scripts have it.
type storedBlob struct {
	Key         string    `json:"key"`
	Bytes       int64     `json:"bytes"`
	ContentType string    `json:"content_type"`
	Public      bool      `json:"public"`
	Written     time.Time `json:"written"`
}

func (c *cli) blobDelete() *cobra.Command {
	var o tableFlags
	cmd := &cobra.Command{Use: "delete KEY", Short: "Delete a blob", Args: exactly("KEY")}
	o.addDatabase(cmd)
	cmd.RunE = c.with(func(ctx context.Context, x *client, args []string) error {
		_, err := x.blobs().Delete(ctx, &storepb.BlobDeleteRequest{Key: args[0], Options: &storepb.BlobOptions{Namespace: o.in(x)}})
		return err
	})
	return cmd
}

// gauge shows on a terminal how much of a blob has gone by.
type gauge struct {
	out   io.Writer
	what  string
	size  int64 // 0 when it is not known
	done  int64
	live  bool
	shown time.Time
}

func newGauge(out io.Writer, what string, size int64) *gauge {
	return &gauge{out: out, what: terminal.OneLine(what), size: size, live: terminal.Live(out)}
}

// Write implements io.Writer.
func (g *gauge) Write(b []byte) (int, error) {
	g.done += int64(len(b))
	if g.live && time.Since(g.shown) > 100*time.Millisecond {
		g.shown = time.Now()
		of := ""
		if g.size > 0 {
			of = fmt.Sprintf(" of %.1f", float64(g.size)/(1<<20))
		}
		fmt.Fprintf(g.out, "\r\x1b[K%s  %.1f%s MiB", g.what, float64(g.done)/(1<<20), of)
	}
	return len(b), nil
}

// end gives the line back.
func (g *gauge) end() {
	if g.live {
		fmt.Fprint(g.out, "\r\x1b[K")
	}
}
