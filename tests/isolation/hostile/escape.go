package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"
)

// The numbers of system calls that the standard library has no names for.
var numbers = map[string]map[string]uintptr{
	"amd64": {"bpf": 321, "io_uring_setup": 425, "keyctl": 250, "add_key": 248, "userfaultfd": 323, "open_by_handle_at": 304, "setns": 308,
		"finit_module": 313, "kexec_load": 246, "perf_event_open": 298, "fsopen": 430, "open_tree": 428, "process_vm_readv": 310},
	"arm64": {"bpf": 280, "io_uring_setup": 425, "keyctl": 219, "add_key": 217, "userfaultfd": 282, "open_by_handle_at": 265, "setns": 268,
		"finit_module": 273, "kexec_load": 104, "perf_event_open": 241, "fsopen": 430, "open_tree": 428, "process_vm_readv": 270},
}[runtime.GOARCH]

// Escape tries the ways out of a container. Each answers "done" or the error.
func (*Hostile) Escape(_ context.Context, _ *Request, rsp *Response) error {
	rsp.Results = map[string]string{}
	for name, try := range escapes {
		err := try()
		rsp.Results[name] = "done"
		if err != nil {
			rsp.Results[name] = err.Error()
		}
	}
	return nil
}

var escapes = map[string]func() error{
	"mount tmpfs":               func() error { return syscall.Mount("x", "/tmp", "tmpfs", 0, "") },
	"mount proc":                func() error { return syscall.Mount("proc", "/tmp", "proc", 0, "") },
	"bind mount":                func() error { return syscall.Mount("/proc", "/tmp", "", syscall.MS_BIND, "") },
	"remount the root writable": func() error { return syscall.Mount("", "/", "", syscall.MS_REMOUNT, "") },
	"unshare user":              thread(func() error { return syscall.Unshare(syscall.CLONE_NEWUSER) }),
	"unshare mount":             thread(func() error { return syscall.Unshare(syscall.CLONE_NEWNS) }),
	"unshare network":           thread(func() error { return syscall.Unshare(syscall.CLONE_NEWNET) }),
	"chroot":                    func() error { return syscall.Chroot("/tmp") },
	"pivot root":                func() error { return syscall.PivotRoot("/tmp", "/tmp") },
	"raw socket":                socket(syscall.AF_INET, syscall.SOCK_RAW, syscall.IPPROTO_ICMP),
	"packet socket":             socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0x0300),
	"device node":               func() error { return syscall.Mknod("/tmp/disk", syscall.S_IFBLK|0o600, 8<<8) },
	"become root":               func() error { return syscall.Setuid(0) },
	"become root's group":       func() error { return syscall.Setgid(0) },
	"host name":                 func() error { return syscall.Sethostname([]byte("mine")) },
	"clock":                     func() error { return syscall.Settimeofday(&syscall.Timeval{Sec: 1}) },
	"reboot":                    func() error { return syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART) },
	"swap":                      func() error { return swapon("/tmp/x") },
	"trace the first process":   func() error { return syscall.PtraceAttach(1) },
	"higher limits": func() error {
		return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	},
	"start a program from /tmp": startCopy,
	"set-id program":            setID,
	"core pattern":              write("/proc/sys/kernel/core_pattern"),
	"sysctl of the host":        write("/proc/sys/kernel/panic"),
	"sysctl of the network":     write("/proc/sys/net/ipv4/ip_forward"),
	"sysrq":                     write("/proc/sysrq-trigger"),
	"oom score":                 write("/proc/self/oom_score_adj"),
	"cgroup release agent":      write("/sys/fs/cgroup/memory/release_agent"),
	"cgroup limit":              write("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
	"uevent helper":             write("/sys/kernel/uevent_helper"),
	"memory of the host":        read("/dev/mem"),
	"kernel memory":             read("/proc/kcore"),
	"kernel log":                read("/dev/kmsg"),
	"shadow":                    read("/etc/shadow"),
	"disk":                      read("/dev/sda"),
	"Docker's socket":           read("/var/run/docker.sock"),
	"overwrite the program":     write("/program"),
	"new user":                  write("/etc/passwd"),
	"bpf":                       call("bpf", 0, 0, 0),
	"keyctl":                    call("keyctl", 0, ^uintptr(2), 1), // the session's keyring
	"userfaultfd":               call("userfaultfd", 0, 0, 0),
	"open by handle":            call("open_by_handle_at", 0, 0, 0),
	"enter a namespace":         enter,
	"load a module":             call("finit_module", 0, 0, 0),
	"load a kernel":             call("kexec_load", 0, 0, 0),
	"watch the processor":       call("perf_event_open", 0, 0, 0),
	"open a file system":        call("fsopen", 0, 0, 0),
	"io_uring":                  ring,
}

// thread runs a try on a thread that ends with it: what it did to itself is
// gone then.
func thread(try func() error) func() error {
	return func() error {
		done := make(chan error)
		go func() {
			runtime.LockOSThread() // never unlocked
			done <- try()
		}()
		return <-done
	}
}

func socket(domain, kind, protocol int) func() error {
	return func() error {
		fd, err := syscall.Socket(domain, kind, protocol)
		if err == nil {
			syscall.Close(fd) //nolint:errcheck // the try is over
		}
		return err
	}
}

func call(name string, a, b, c uintptr) func() error {
	return func() error { return raw(numbers[name], a, b, c) }
}

func raw(number, a, b, c uintptr) error {
	if _, _, errno := syscall.Syscall(number, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

func swapon(file string) error {
	p, err := syscall.BytePtrFromString(file)
	if err != nil {
		return err
	}
	return raw(syscall.SYS_SWAPON, uintptr(unsafe.Pointer(p)), 0, 0)
}

// enter tries to go to where the first process is, which may be the host's.
func enter() error {
	f, err := os.Open("/proc/1/ns/mnt")
	if err != nil {
		return err
	}
	defer f.Close()
	return thread(func() error { return raw(numbers["setns"], f.Fd(), 0, 0) })()
}

func ring() error {
	var parameters [120]byte
	fd, _, errno := syscall.Syscall(numbers["io_uring_setup"], 1, uintptr(unsafe.Pointer(&parameters)), 0)
	if errno != 0 {
		return errno
	}
	return syscall.Close(int(fd))
}

func write(name string) func() error {
	return func() error {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("-1000")
		return err
	}
}

func read(name string) func() error {
	return func() error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.ReadFull(f, make([]byte, 1))
		return err
	}
}

func startCopy() error {
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	defer os.Remove("/tmp/copy")
	if err := os.WriteFile("/tmp/copy", b, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("/tmp/copy", idle)
	if err := cmd.Start(); err != nil {
		return err
	}
	cmd.Process.Kill() //nolint:errcheck // it did start, which is what counts
	cmd.Wait()         //nolint:errcheck // killed
	return nil
}

// setID makes a program that would be root's, and starts it.
func setID() error {
	defer os.Remove("/tmp/root")
	if err := os.WriteFile("/tmp/root", []byte("x"), 0o755); err != nil {
		return err
	}
	if err := os.Chown("/tmp/root", 0, 0); err != nil {
		return err
	}
	return os.Chmod("/tmp/root", os.ModeSetuid|0o755)
}
