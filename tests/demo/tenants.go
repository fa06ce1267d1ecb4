package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/micro/platform/tests/platform"
)

// makeGreeter writes a service whose handler calls helloworld by the framework.
func (d *demo) makeGreeter(who *platform.Person) error {
	if err := d.run(who, "micro new greeter"); err != nil {
		return err
	}
	fmt.Printf("%s$ $EDITOR greeter/handler/greeter.go  # call helloworld in Call\n", who.Name)
	return platform.WriteGreeter(filepath.Join(who.Home, "greeter"))
}

func (d *demo) greeter() error {
	if err := d.makeGreeter(d.alice); err != nil {
		return err
	}
	if err := d.run(d.alice, "micro run ./greeter"); err != nil {
		return err
	}
	return d.expect(d.alice, "helloworld says: Good morning Jane", "micro greeter call --name=Jane")
}

// deployGit pushes the service into a repository on loopback, and deploys it
// from there.
func (d *demo) deployGit() error {
	url, err := d.git.Push(d.ctx, filepath.Join(d.alice.Home, "helloworld"), "services", "fromgit")
	if err != nil {
		return err
	}
	if err := d.run(d.alice, "micro run "+url+"/fromgit@main"); err != nil {
		return err
	}
	return errors.Join(
		d.expect(d.alice, "fromgit", "micro status"),
		d.fails(d.alice, "not found", "micro run "+d.git.URL("nowhere.git")+"/fromgit"),
	)
}

// broken deploys what does not compile: the reason is the compiler's, and what
// ran goes on running.
func (d *demo) broken() error {
	const file = "helloworld/handler/helloworld.go"
	if err := d.edit(d.alice, file, `"Good morning "`, `"Good morning " + nothing`); err != nil {
		return err
	}
	return errors.Join(
		d.fails(d.alice, "undefined: nothing", "micro update ./helloworld"),
		d.expect(d.alice, "Good morning Jane", "micro helloworld call --name=Jane"),
		d.edit(d.alice, file, `"Good morning " + nothing`, `"Good morning "`),
	)
}

func (d *demo) secondTenant() (err error) {
	if d.bob, err = d.person("bob"); err != nil {
		return err
	}
	if err := d.run(d.bob, "micro new helloworld"); err != nil {
		return err
	}
	if err := d.edit(d.bob, "helloworld/handler/helloworld.go", `"Hello "`, `"Bob says hello "`); err != nil {
		return err
	}
	if err := d.makeGreeter(d.bob); err != nil {
		return err
	}
	if err := d.run(d.bob, "micro run ./helloworld"); err != nil {
		return err
	}
	return d.run(d.bob, "micro run ./greeter")
}

// isolation shows that the same names lead each person to their own services:
// from the command line, over REST and from inside a container.
func (d *demo) isolation() error {
	curl := func(header string) string {
		return `curl -s -H "Authorization: Bearer $(micro user token)" ` + header + `http://` + d.server.API + `/helloworld/Call -d '{"name":"Jane"}'`
	}
	return errors.Join(
		d.expect(d.alice, "Good morning Jane", "micro helloworld call --name=Jane"),
		d.expect(d.bob, "Bob says hello Jane", "micro helloworld call --name=Jane"),
		d.expect(d.alice, "Good morning Jane", curl("")),
		d.expect(d.bob, "Bob says hello Jane", curl("")),
		d.expect(d.alice, "helloworld says: Good morning Jane", "micro greeter call --name=Jane"),
		d.expect(d.bob, "helloworld says: Bob says hello Jane", "micro greeter call --name=Jane"),
		d.expect(d.bob, "403", curl("-H 'Micro-Namespace: alice-demo' ")),
		d.expect(d.bob, "404", `curl -s -H "Authorization: Bearer $(micro user token)" http://`+d.server.API+`/fromgit/Call -d '{}'`),
		d.fails(d.bob, "", "micro fromgit call"),
	)
}

func (d *demo) kill() error {
	return errors.Join(
		d.run(d.alice, "micro kill helloworld greeter fromgit"),
		d.run(d.bob, "micro kill helloworld greeter"),
		d.expect(d.bob, "", "micro status"),
	)
}

func (d *demo) stop() error {
	pids := d.server.Processes()
	took := d.server.Stop()
	for name, pid := range pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			return fmt.Errorf("%s (%d) is still there", name, pid)
		}
	}
	d.fact("clean stop after the work", took, "10 s")
	return nil
}
