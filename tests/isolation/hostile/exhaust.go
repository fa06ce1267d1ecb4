package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"time"
)

// Fork starts programs until it cannot, and answers how many there were.
func (*Hostile) Fork(_ context.Context, req *Request, rsp *Response) error {
	var started []*exec.Cmd
	rsp.Results = map[string]string{"end": "none"}
	for range req.Count {
		cmd := exec.Command("/proc/self/exe", idle)
		if err := cmd.Start(); err != nil {
			rsp.Results["end"] = err.Error()
			break
		}
		started = append(started, cmd)
	}
	rsp.Count = int64(len(started))
	for _, cmd := range started {
		cmd.Process.Kill() //nolint:errcheck // it may have ended for lack of threads
	}
	for _, cmd := range started {
		cmd.Wait() //nolint:errcheck // killed
	}
	return nil
}

// Eat takes count bytes of memory, and uses them. It should not come back.
func (*Hostile) Eat(_ context.Context, req *Request, rsp *Response) error {
	for rsp.Count < req.Count {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		eaten = append(eaten, b)
		rsp.Count += int64(len(b))
	}
	return nil
}

var eaten [][]byte

// Fill writes count bytes to a file in each of the directories, and answers
// where it ended.
func (*Hostile) Fill(_ context.Context, req *Request, rsp *Response) error {
	rsp.Results = map[string]string{}
	block := bytes.Repeat([]byte("x"), 1<<20)
	for _, dir := range req.Targets {
		rsp.Results[dir] = fill(dir+"/filler", block, req.Count, &rsp.Count)
	}
	return nil
}

func fill(name string, block []byte, most int64, written *int64) string {
	f, err := os.Create(name)
	if err != nil {
		return err.Error()
	}
	defer os.Remove(name)
	defer f.Close()
	for size := int64(0); size < most; {
		n, err := f.Write(block)
		size, *written = size+int64(n), *written+int64(n)
		if err != nil {
			return err.Error()
		}
	}
	return "all written"
}

// Shout writes to its log for as long as count says, in milliseconds, and
// answers how many bytes that were.
func (*Hostile) Shout(_ context.Context, req *Request, rsp *Response) error {
	line := append(bytes.Repeat([]byte("flood "), 160), '\n')
	block := bytes.Repeat(line, 32)
	for end := time.Now().Add(time.Duration(req.Count) * time.Millisecond); time.Now().Before(end); {
		n, err := os.Stdout.Write(block)
		rsp.Count += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// Open opens files until it cannot, and answers how many there were.
func (*Hostile) Open(_ context.Context, req *Request, rsp *Response) error {
	rsp.Results = map[string]string{"end": "none"}
	var open []*os.File
	for range req.Count {
		f, err := os.Open("/etc/passwd")
		if err != nil {
			rsp.Results["end"] = err.Error()
			break
		}
		open = append(open, f)
	}
	for _, f := range open {
		f.Close()
	}
	rsp.Count = int64(len(open))
	return nil
}

// Spin burns processors for as long as count says, in milliseconds.
func (*Hostile) Spin(_ context.Context, req *Request, _ *Response) error {
	end := time.Now().Add(time.Duration(req.Count) * time.Millisecond)
	done := make(chan struct{})
	for range 8 {
		go func() {
			for time.Now().Before(end) {
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		<-done
	}
	return nil
}
