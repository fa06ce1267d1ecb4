package platform

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Process is one that runs.
type Process struct {
	PID     int
	Program string
}

// Processes are parents before their children.
type Processes []Process

// Tree answers a process and all that descend from it.
func Tree(root int) (Processes, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int]Processes{}
	var all Processes
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
		if p.PID == root {
			all = Processes{p}
		}
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].PID]...)
	}
	return all, nil
}

// parseStat reads /proc/PID/stat: "PID (program) state parent ...".
func parseStat(b []byte) (p Process, parent int, err error) {
	opens, closes := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if opens < 1 || closes < opens {
		return p, 0, fmt.Errorf("stat of a process: %q", b)
	}
	p.Program = string(b[opens+1 : closes])
	if p.PID, err = strconv.Atoi(string(b[:opens-1])); err != nil {
		return p, 0, err
	}
	var state string
	_, err = fmt.Sscan(string(b[closes+1:]), &state, &parent)
	return p, parent, err
}

// Of answers those that run a program.
func (all Processes) Of(program string) Processes {
	var out Processes
	for _, p := range all {
		if p.Program == program {
			out = append(out, p)
		}
	}
	return out
}

// Signal sends them a signal.
func (all Processes) Signal(sig syscall.Signal) {
	for _, p := range all {
		syscall.Kill(p.PID, sig) //nolint:errcheck // it may have ended
	}
}

// Kill comes back when they are gone, and with them what they had locked.
func (all Processes) Kill() {
	all.Signal(syscall.SIGKILL)
	for _, p := range all {
		for alive(p.PID) {
			<-time.After(time.Millisecond)
		}
	}
}

// alive is false for one that has ended and that nobody has asked about yet.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}
