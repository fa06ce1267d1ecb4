package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/micro/platform/tests/platform"
)

type step struct {
	name string
	do   func() error
}

type timing struct {
	name string
	took time.Duration
}

type demo struct {
	ctx    context.Context
	host   *host
	config platform.Config
	timed  []timing
	facts  []string // measured figures, for the end

	git        *platform.GitServer
	server     *platform.Platform
	alice, bob *platform.Person
	signedUp   time.Time
}

func (d *demo) steps() []step {
	return []step{
		{"making the image that sources are built in", d.builderImage},
		{"starting a server", d.start},
		{"starting it again, warm", d.restart},
		{"signing up", d.signup},
		{"making a service", d.scaffold},
		{"deploying it from source", d.deploy},
		{"calling it", d.call},
		{"looking at it", d.look},
		{"changing it", d.update},
		{"a service that calls another", d.greeter},
		{"deploying from git", d.deployGit},
		{"a source that does not compile", d.broken},
		{"a second namespace with the same service", d.secondTenant},
		{"each reaches its own", d.isolation},
		{"what an edge adds to a call", d.overhead},
		{"stopping the services", d.kill},
		{"stopping the server", d.stop},
	}
}

const password = "correct horse battery staple"

func (d *demo) builderImage() error {
	return d.show(platform.Program(d.ctx, d.config.Micro, "builder-image"), "micro builder-image")
}

func (d *demo) start() (err error) {
	if d.git, err = platform.StartGit(filepath.Join(d.config.Dir, "git")); err != nil {
		return err
	}
	d.config.Env = []string{"MICRO_BUILDER_GIT_HOSTS=" + d.git.Address}
	fmt.Println("$ micro server --data-dir …  # free ports, temporary data")
	d.server, err = platform.Start(d.ctx, d.config)
	return err
}

func (d *demo) restart() error {
	took := d.server.Stop()
	d.fact("clean stop", took, "10 s")
	began := time.Now()
	if err := d.server.Restart(d.ctx); err != nil {
		return err
	}
	d.fact("server ready, warm", time.Since(began), "3 s")
	if kb := residentKB(d.server.Processes()["server"]); kb > 0 {
		d.facts = append(d.facts, fmt.Sprintf("memory of the idle server: %d MB (goal 250 MB)", kb/1024))
	}
	return nil
}

func (d *demo) signup() (err error) {
	d.signedUp = time.Now()
	if d.alice, err = d.person("alice"); err != nil {
		return err
	}
	return d.run(d.alice, "micro user")
}

// person makes somebody with a namespace.
func (d *demo) person(name string) (*platform.Person, error) {
	x, err := d.server.Person(d.ctx, name)
	if err != nil {
		return nil, err
	}
	fmt.Printf("%s$ micro env add platform %s && micro env set platform\n", name, d.server.Proxy)
	fmt.Printf("%s$ micro signup --email %s --namespace %s-demo --password …\n", name, x.Email, name)
	out, err := x.Signup(d.ctx, password, name+"-demo")
	fmt.Print(indent(out))
	return x, err
}

func (d *demo) scaffold() error { return d.run(d.alice, "micro new helloworld") }

func (d *demo) deploy() error {
	if err := d.run(d.alice, "micro run ./helloworld"); err != nil {
		return err
	}
	if err := d.expect(d.alice, "Hello Jane", "micro helloworld call --name=Jane"); err != nil {
		return err
	}
	d.fact("sign-up to the first answered call", time.Since(d.signedUp), "60 s with cold caches, 25 s with warm ones")
	return d.expect(d.alice, "running", "micro status")
}

func (d *demo) call() error {
	return errors.Join(
		d.expect(d.alice, "--name string", "micro helloworld call --help"),
		d.expect(d.alice, "Hello Jane", `micro call helloworld Helloworld.Call '{"name":"Jane"}'`),
		d.expect(d.alice, "Hello Jane", `curl -s -H "Authorization: Bearer $(micro user token)" http://`+d.server.API+`/helloworld/Call -d '{"name":"Jane"}'`),
		d.expect(d.alice, "Hello Jane", `curl -s -H "Authorization: Bearer $(micro user token)" "http://`+d.server.API+`/helloworld/Call?name=Jane"`),
		d.expect(d.alice, "401", `curl -s -H "Micro-Namespace: alice-demo" http://`+d.server.API+`/helloworld/Call -d '{"name":"Jane"}'`),
	)
}

func (d *demo) look() error {
	return errors.Join(
		d.expect(d.alice, "helloworld", "micro services"),
		d.expect(d.alice, "Helloworld.Call", "micro get service helloworld"),
		d.expect(d.alice, "", "micro logs -n 5 helloworld"),
		d.expect(d.alice, "helloworld", "micro status -o json"),
	)
}

// update changes the handler and waits for the new answer.
func (d *demo) update() error {
	if err := d.edit(d.alice, "helloworld/handler/helloworld.go", `"Hello "`, `"Good morning "`); err != nil {
		return err
	}
	began := time.Now()
	if err := d.run(d.alice, "micro update ./helloworld"); err != nil {
		return err
	}
	if err := d.expect(d.alice, "Good morning Jane", "micro helloworld call --name=Jane"); err != nil {
		return err
	}
	d.fact("update to the new answer", time.Since(began), "10 s")
	return nil
}

func (d *demo) edit(who *platform.Person, file, from, to string) error {
	path := filepath.Join(who.Home, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(b), from) {
		return fmt.Errorf("%s does not have %s", file, from)
	}
	fmt.Printf("%s$ sed -i 's/%s/%s/' %s\n", who.Name, from, to, file)
	return os.WriteFile(path, []byte(strings.ReplaceAll(string(b), from, to)), 0o644)
}
