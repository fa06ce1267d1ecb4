package multihost

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// loadImages makes the edges' image on every host, and brings the one that
// builds run in to those with builders.
func (s *Site) loadImages(ctx context.Context, builders int) error {
	image, err := rootless(s.micro, "/micro")
	if err != nil {
		return err
	}
	return s.Rig.each(func(n *Node) error {
		_, err := n.DockerIn(ctx, bytes.NewReader(image), "import", "--change", `ENTRYPOINT ["/micro"]`, "-", s.edgeImage)
		if i := slices.Index(s.Rig.Nodes, n); err != nil || i >= builders {
			return err
		}
		return n.copyImage(ctx, "micro/builder-go:latest")
	})
}

// copyImage brings an image from this machine's Docker to the host's.
func (n *Node) copyImage(ctx context.Context, image string) error {
	save := exec.CommandContext(ctx, "docker", "save", image)
	out, err := save.StdoutPipe()
	if err != nil {
		return err
	}
	if err := save.Start(); err != nil {
		return err
	}
	_, err = n.DockerIn(ctx, out, "load")
	if failed := save.Wait(); failed != nil {
		err = errors.Join(err, fmt.Errorf("docker save %s (make builder-image makes it): %w", image, failed))
	}
	return err
}

// rootless is the file system of an image with one program and no more.
func rootless(program, at string) ([]byte, error) {
	b, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(at, "/"), Mode: 0o755, Size: int64(len(b))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	return out.Bytes(), w.Close()
}

// startEdges starts both edges on a host and waits until they answer.
func (s *Site) startEdges(ctx context.Context, n *Node) error {
	for _, name := range edges {
		args := []string{"run", "--detach", "--name", edgeName(name), "--restart", "always", "--network", s.network, "--runtime", "runc",
			"--label", "micro.cluster=" + cluster(), "--label", "micro.part=edge",
			"--volume", s.certsDir() + ":" + s.certsDir() + ":ro", "--volume", "state-" + name + ":/state", "--env", "MICRO_STATE_DIR=/state",
			"--env", "MICRO_DRAIN_NOTICE=2s", // the balancer asks four times a second
			"--env", "MICRO_OPS_ADDRESS=" + opsOf(name),
			"--publish", published[name]}
		args = append(args, s.edgeEnv()...)
		if _, err := n.Docker(ctx, append(args, s.edgeImage, "service", name)...); err != nil {
			return err
		}
	}
	return s.edgesAnswer(ctx, n)
}

// edgeEnv are the settings of an edge, as arguments of docker run.
func (s *Site) edgeEnv() (args []string) {
	for _, e := range s.env {
		if strings.HasPrefix(e, "MICRO_") {
			args = append(args, "--env", e)
		}
	}
	return args
}

var published = map[string]string{"gateway": "8080:8080", "proxy": "8081:8081"}

func edgeName(component string) string { return "micro-edge-" + component }

// answerTimeout bounds the wait for an edge that starts.
const answerTimeout = 30 * time.Second

func (s *Site) edgesAnswer(ctx context.Context, n *Node) error {
	return poll(ctx, answerTimeout, func() error {
		conn, err := net.DialTimeout("tcp", n.Address+":8081", time.Second)
		if err != nil {
			return err
		}
		conn.Close()
		rsp, err := (&http.Client{Timeout: time.Second}).Get("http://" + n.Address + ":8080/")
		if err != nil {
			return err
		}
		rsp.Body.Close()
		return nil
	})
}

// stopEdges stops the edges of a host as an operator does.
func (s *Site) stopEdges(ctx context.Context, n *Node) error {
	for _, name := range edges {
		if _, err := n.Docker(ctx, "stop", "--time", "30", edgeName(name)); err != nil {
			return err
		}
	}
	return nil
}

// resumeEdges starts them again. They are members of networks that Docker has no
// more until it is back in the Swarm.
func (s *Site) resumeEdges(ctx context.Context, n *Node) error {
	for _, name := range edges {
		err := poll(ctx, answerTimeout, func() error {
			_, err := n.Docker(ctx, "start", edgeName(name))
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.edgesAnswer(ctx, n)
}

// edgePID answers the number of an edge's process on its host.
func (n *Node) edgePID(ctx context.Context, component string) (string, error) {
	out, err := n.Docker(ctx, "inspect", "-f", "{{.State.Pid}}", edgeName(component))
	return strings.TrimSpace(out), err
}

// KillEdge ends an edge without warning; Docker starts it again. It answers how
// long the edge was away.
func (s *Site) KillEdge(ctx context.Context, n *Node, component string) (time.Duration, error) {
	pid, err := n.edgePID(ctx, component)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if out, err := n.Command(ctx, "kill", "-9", pid).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("kill %s: %w: %s", component, err, out)
	}
	err = poll(ctx, answerTimeout, func() error {
		now, err := n.edgePID(ctx, component)
		if err == nil && (now == pid || now == "0") {
			err = fmt.Errorf("%s has not been started again", component)
		}
		return err
	})
	if err == nil {
		err = s.edgesAnswer(ctx, n)
	}
	return time.Since(began), err
}
