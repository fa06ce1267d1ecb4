package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/micro/platform/tests/platform"
)

// run shows a command at somebody's terminal with its answer, and fails when it
// does.
func (d *demo) run(who *platform.Person, line string) error {
	_, err := d.at(who, line)
	return err
}

// expect is run for an answer that must hold a text.
func (d *demo) expect(who *platform.Person, want, line string) error {
	out, err := d.at(who, line)
	if err != nil {
		return err
	}
	if !strings.Contains(out, want) {
		return fmt.Errorf("%s: the answer lacks %q: %s", line, want, out)
	}
	return nil
}

// fails is run for a command that must fail with a text.
func (d *demo) fails(who *platform.Person, want, line string) error {
	out, err := d.at(who, line)
	if err == nil {
		return fmt.Errorf("%s: succeeded, and should not: %s", line, out)
	}
	if !strings.Contains(out, want) {
		return fmt.Errorf("%s: the error lacks %q: %s", line, want, out)
	}
	return nil
}

func (d *demo) at(who *platform.Person, line string) (string, error) {
	fmt.Printf("%s$ %s\n", who.Name, line)
	ctx, cancel := context.WithTimeout(d.ctx, 5*time.Minute)
	defer cancel()
	out, err := who.Command(ctx, "sh", "-c", line).CombinedOutput()
	fmt.Print(indent(string(out)))
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", line, err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// show runs a program with its output as it comes.
func (d *demo) show(cmd *exec.Cmd, line string) error {
	fmt.Printf("$ %s\n", line)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func (d *demo) fact(name string, took time.Duration, goal string) {
	d.facts = append(d.facts, fmt.Sprintf("%s: %.1f s (goal %s)", name, took.Seconds(), goal))
}

func (d *demo) report() {
	fmt.Println("\n== how long the steps took")
	for _, t := range d.timed {
		fmt.Printf("   %6.1f s  %s\n", t.took.Seconds(), t.name)
	}
	fmt.Println("\n== measured")
	for _, f := range d.facts {
		fmt.Println("   " + f)
	}
	fmt.Println()
}

// close stops what still runs, after a failure too.
func (d *demo) close() error {
	// Not d.ctx: what was made is removed even when the demo was interrupted.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if d.git != nil {
		d.git.Close()
	}
	var removed error
	if d.server != nil {
		d.server.Stop()
		removed = d.server.Remove(ctx)
	}
	return errors.Join(removed, d.host.close(ctx))
}

func indent(text string) string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return ""
	}
	return "   " + strings.ReplaceAll(text, "\n", "\n   ") + "\n"
}

// residentKB is the memory of a process, in KiB, or 0.
func residentKB(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kb, _ := strconv.Atoi(fields[1])
			return kb
		}
	}
	return 0
}
