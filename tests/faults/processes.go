package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// proc is a running process.
type proc struct {
	pid     int
	program string
}

// procs are processes, parents before their children.
type procs []proc

// tree answers a process and all that descend from it.
func tree(root int) (procs, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int]procs{}
	var all procs
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		p, parent, err := parseStat(b)
		if err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], p)
		if p.pid == root {
			all = procs{p}
		}
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all, nil
}

// parseStat reads /proc/PID/stat: "PID (program) state parent ...".
func parseStat(b []byte) (p proc, parent int, err error) {
	opens, closes := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if opens < 1 || closes < opens {
		return p, 0, fmt.Errorf("stat of a process: %q", b)
	}
	p.program = string(b[opens+1 : closes])
	if p.pid, err = strconv.Atoi(string(b[:opens-1])); err != nil {
		return p, 0, err
	}
	var state string
	_, err = fmt.Sscan(string(b[closes+1:]), &state, &parent)
	return p, parent, err
}

// of answers those that run a program.
func (all procs) of(program string) procs {
	var out procs
	for _, p := range all {
		if p.program == program {
			out = append(out, p)
		}
	}
	return out
}

func signalAll(all procs, sig syscall.Signal) {
	for _, p := range all {
		syscall.Kill(p.pid, sig) //nolint:errcheck // it may have ended
	}
}

// killAll comes back when they are gone, and with them what they had locked.
func killAll(all procs) {
	signalAll(all, syscall.SIGKILL)
	for _, p := range all {
		for alive(p.pid) {
			<-time.After(time.Millisecond)
		}
	}
}

// alive is false for one that has ended and that nobody has asked about yet.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}
