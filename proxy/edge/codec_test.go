package edge

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
)

// TestPieces shows that a message takes little more memory than its length, whatever
// the pieces are that it comes in, and that large pieces are not copied.
func TestPieces(t *testing.T) {
	t.Parallel()
	const message = 256 << 10
	for _, tt := range []struct {
		piece int
		kept  bool
	}{{1, false}, {1025, false}, {4097, false}, {8 << 10, true}, {16 << 10, true}, {message, true}} {
		pool := &counting{BufferPool: mem.DefaultBufferPool()}
		var sent []byte
		var came mem.BufferSlice
		for len(sent) < message {
			b := bytes.Repeat([]byte{byte(len(came))}, min(tt.piece, message-len(sent)))
			sent, came = append(sent, b...), append(came, mem.Copy(b, pool))
		}
		var f frame
		if err := (codec{"proto"}).Unmarshal(came, &f); err != nil {
			t.Fatal(err)
		}
		came.Free()
		if kept := pool.taken > 0; kept != (tt.kept && !mem.IsBelowBufferPoolingThreshold(tt.piece)) {
			t.Errorf("pieces of %d bytes are kept: %v", tt.piece, kept)
		}
		if got := f.take(); !bytes.Equal(got, sent) {
			t.Errorf("of pieces of %d bytes %d are left, not the same", tt.piece, len(got))
		}
		if pool.taken != 0 {
			t.Errorf("%d buffers of %d bytes are not given back", pool.taken, tt.piece)
		}
	}
}

// counting counts the buffers that are taken from a pool.
type counting struct {
	mem.BufferPool
	taken int
}

func (p *counting) Get(n int) *[]byte { p.taken++; return p.BufferPool.Get(n) }
func (p *counting) Put(b *[]byte)     { p.taken--; p.BufferPool.Put(b) }
