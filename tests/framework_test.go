package tests

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/micro/platform/tests/platform"
)

// TestMicroFramework deploys services that are built on the Micro framework
// itself, as people have them, and calls each of their endpoints. A call is one
// trace, from the edge through one container to the next.
func TestMicroFramework(t *testing.T) {
	t.Parallel()
	c, err := platform.NewCollector()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	p := start(t, false, c.Env()...)
	for _, m := range []struct{ name, folder, mod string }{
		{"v3.10", "v3", "v310"},
		{"v3.19", "v3", "go"},
		{"v5.0", "v5", "go"},
	} {
		t.Run(m.name, func(t *testing.T) {
			x := person(t, p, "user-of-"+m.folder+"-"+m.mod)
			sources := copyModule(t, m.folder, m.mod)
			for _, name := range []string{"numbers", "relay", "keeper"} {
				expect(t, x, "running", "micro run "+filepath.Join(sources, name))
			}
			calls(t, p, x)
			keeps(t, p, x)
			if m.folder == "v3" {
				models(t, p, x)
			}
			c.Forget()
			expect(t, x, `"sum":"3"`, curl(p, "/relay/Add", `-d '{"terms":[1,2]}'`))
			if err := c.Wait(t.Context(), "micro server: POST", "micro server: relay.Relay/Add", "micro server: numbers.Numbers/Add"); err != nil {
				t.Error(err)
			}
		})
	}
}

// copyModule copies a module below framework/, with the go.mod and go.sum that bear
// a name, and answers its folder.
func copyModule(t *testing.T, folder, mod string) string {
	t.Helper()
	from, to := filepath.Join("framework", folder), t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{".mod", ".sum"} {
		if err := os.Rename(filepath.Join(to, mod+kind), filepath.Join(to, "go"+kind)); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// calls goes through the endpoints of numbers, and of relay, which calls them
// in its turn.
func calls(t *testing.T, p *platform.Platform, x *platform.Person) {
	t.Helper()
	for _, c := range []struct{ name, want, line string }{
		{"by command", `"sum": "3"`, "micro numbers add --terms=1 --terms=2"},
		{"by call", `"note": "ä \" €"`, `micro call numbers Numbers.Add '{"terms":[1,2],"note":"ä \" €"}'`},
		{"by HTTP", `"sum":"3"`, curl(p, "/numbers/Add", `-d '{"terms":[1,"2"]}'`)},
		{"by query", `"note":"x"`, curl(p, "/numbers/Numbers/Add?note=x", "")},
		{"server stream", "3", "micro stream numbers Numbers.Count '{\"to\":3}' | grep -c number"},
		{"stream by HTTP", `{"number":"1"}{"number":"2"}`, curl(p, "/numbers/Count", `-d '{"to":2}' | tr -d '\n'`)},
		{"bidirectional stream", `"sum": "4"`, `micro stream numbers Numbers.Sum '{"term":4}'`},
		{"caller's account", `"id":"` + x.Email + `","issuer":"` + x.Name + `-space"`, curl(p, "/numbers/Whoami", "")},
		{"error", `"code":404,"detail":"no such thing","status":"Not Found"`, curl(p, "/numbers/Fail", `-d '{"code":404,"detail":"no such thing"}'`)},
		{"handlers are described", "terms []int64", "micro get service numbers"},
		{"log", "adding 2 terms", "micro logs numbers"},

		{"service to service", `"sum":"11"`, curl(p, "/relay/Add", `-d '{"terms":[5,6]}'`)},
		{"service reads a stream", `"numbers":["1","2","3"]`, curl(p, "/relay/Count", `-d '{"to":3}'`)},
		{"service sends and reads", `"sums":["1","3","6"]`, curl(p, "/relay/Sum", `-d '{"terms":[1,2,3]}'`)},
		{"on behalf of the caller", `"id":"` + x.Email + `","type":"user"`, curl(p, "/relay/Whoami", "")},
		{"as itself", `"type":"service"`, curl(p, "/relay/Whoami", `-d '{"own":true}'`)},
		{"error through a service", `"code":404,"detail":"gone"`, curl(p, "/relay/Fail", `-d '{"code":404,"detail":"gone"}'`)},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, x, c.want, c.line) })
	}
	t.Run("error exits", func(t *testing.T) { refuse(t, x, "tea", "micro numbers fail --code=418 --detail=tea") })
}

// keeps goes through the endpoints of keeper, in the order in which each needs
// what the ones before it kept.
func keeps(t *testing.T, p *platform.Platform, x *platform.Person) {
	t.Helper()
	keeper := func(endpoint, body string) string { return curl(p, "/keeper/"+endpoint, "-d '"+body+"'") }
	for _, c := range []struct{ name, want, line string }{
		{"write", "{}", keeper("Records/Write", `{"key":"notes/ann/1","value":"first"}`)},
		{"write another", "{}", keeper("Records/Write", `{"key":"notes/ann/2","value":"second"}`)},
		{"write elsewhere", "{}", keeper("Records/Write", `{"key":"notes/bob/1","value":"third"}`)},
		{"write for a while", "{}", keeper("Records/Write", `{"key":"codes/1","value":"soon","seconds":600}`)},
		{"read", `"value":"first"`, keeper("Records/Read", `{"key":"notes/ann/1"}`)},
		{"read what is not there", `{"records":null}`, keeper("Records/Read", `{"key":"notes/nobody"}`)},
		{"read what expires", `"seconds":5`, keeper("Records/Read", `{"key":"codes/1"}`)},
		{"read by prefix", "first second", keeper("Records/Read", `{"key":"notes/ann/","prefix":true}`) + values},
		{"read in descending order", "third second", keeper("Records/Read", `{"key":"notes/","prefix":true,"order":"desc","limit":2}`) + values},
		{"read from an offset", "second third", keeper("Records/Read", `{"key":"notes/","prefix":true,"offset":1,"limit":5}`) + values},
		{"list", `{"keys":["notes/ann/1","notes/ann/2","notes/bob/1"]}`, keeper("Records/List", `{"key":"notes/"}`)},
		{"delete", "{}", keeper("Records/Delete", `{"key":"notes/ann/1"}`)},
		{"deleted", `{"keys":["notes/ann/2"]}`, keeper("Records/List", `{"key":"notes/ann/"}`)},

		{"write a blob", "{}", keeper("Blobs/Write", `{"key":"a.txt","data":"aGVsbG8="}`)},
		{"read a blob", `"data":"aGVsbG8="`, keeper("Blobs/Read", `{"key":"a.txt"}`)},
		{"list blobs", `{"keys":["a.txt"]}`, keeper("Blobs/List", `{}`)},
		{"delete a blob", "{}", keeper("Blobs/Delete", `{"key":"a.txt"}`)},
		{"no blob", "Blob not found", keeper("Blobs/Read", `{"key":"a.txt"}`)},

		{"no setting", `"value":"none"`, keeper("Settings/Get", `{"path":"mail.key"}`)},
		{"set", "{}", keeper("Settings/Set", `{"path":"mail.key","value":"abc"}`)},
		{"get", `"value":"abc"`, keeper("Settings/Get", `{"path":"mail.key"}`)},
		{"set a secret", "{}", keeper("Settings/Set", `{"path":"mail.secret","value":"def","secret":true}`)},
		{"get a secret", `"value":"def"`, keeper("Settings/Get", `{"path":"mail.secret","secret":true}`)},
		{"unset", "{}", keeper("Settings/Delete", `{"path":"mail.key"}`)},
		{"no setting again", `"value":"none"`, keeper("Settings/Get", `{"path":"mail.key"}`)},

		{"account", `"id":"joe"`, keeper("Accounts/Create", `{"id":"joe","secret":"battery staple 9","scopes":["reader"]}`)},
		{"rules", `"default"`, keeper("Accounts/Rules", `{}`)},

		{"publish an event", "{}", keeper("Events/Publish", `{"topic":"orders","text":"tea"}`)},
		{"history", `{"events":[{"text":"tea","topic":"orders"}]}`, keeper("Events/Read", `{"topic":"orders"}`)},
		{"publish a message", "{}", keeper("Messages/Publish", `{"topic":"news","text":"rain"}`)},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, x, c.want, c.line) })
	}
	t.Run("event comes again when it is refused", func(t *testing.T) {
		eventually(t, x, `"text":"tea"`, keeper("Events/Seen", `{}`))
		expect(t, x, "2", `micro logs keeper | grep -c "order .* came"`)
	})
	t.Run("message comes", func(t *testing.T) { eventually(t, x, `"text":"rain"`, keeper("Messages/Seen", `{}`)) })
	t.Run("events are streamed on", func(t *testing.T) {
		publish := keeper("Events/Publish", `{"topic":"talk","text":"live"}`)
		follow := curl(p, "/keeper/Events/Follow", `-N --max-time 20 -d '{"topic":"talk"}'`)
		expect(t, x, `"text":"live"`, `(while [ ! -e heard ]; do `+publish+`; done) >/dev/null & `+follow+` | grep -m1 live; touch heard; wait`)
	})
}

// models goes through what the model of v3 makes of the store: an object is a
// record for itself and for each of its indexes.
func models(t *testing.T, p *platform.Platform, x *platform.Person) {
	t.Helper()
	call := func(endpoint, body string) string { return curl(p, "/keeper/Models/"+endpoint, "-d '"+body+"'") }
	for _, c := range []struct{ name, want, line string }{
		{"create", "{}", call("Create", `{"id":"1","owner":"acme/`+x.Email+`","name":"tea","created":1}`)},
		{"create another", "{}", call("Create", `{"id":"2","owner":"acme/`+x.Email+`","name":"milk €","created":2}`)},
		{"create for another", "{}", call("Create", `{"id":"3","owner":"acme/b","name":"tea","created":3}`)},
		{"update", "{}", call("Create", `{"id":"1","owner":"acme/`+x.Email+`","name":"green tea","created":4}`)},
		{"read one", `"name":"green tea"`, call("Get", `{"id":"1"}`)},
		{"read by index, newest first", "1 2", call("Mine", `{"owner":"acme/`+x.Email+`"}`) + ids},
		{"read by what it was", "3", call("Named", `{"name":"tea"}`) + ids},
		{"read by what it is", "2", call("Named", `{"name":"milk €"}`) + ids},
		{"delete", "{}", call("Delete", `{"id":"2"}`)},
		{"deleted", "1", call("Mine", `{"owner":"acme/`+x.Email+`"}`) + ids},
		{"nothing", "not found", call("Get", `{"id":"2"}`)},

		{"topic as a path with an account", "{}", curl(p, "/keeper/Events/Publish", `-d '{"topic":"event/acme/`+x.Email+`/orders","text":"own"}'`)},
		{"its history", `"text":"own"`, curl(p, "/keeper/Events/Read", `-d '{"topic":"event/acme/`+x.Email+`/orders"}'`)},
		{"its history by REST", `"topic":"event/acme/` + x.Email + `/orders"`, curl(p, "/platform/v1/topics/event%2Facme%2F"+x.Email+"%2Forders/events", "")},
	} {
		t.Run("model: "+c.name, func(t *testing.T) { expect(t, x, c.want, c.line) })
	}
}

// ids leaves of an answer the ids of the objects, in a line.
const ids = ` | grep -o '"id":"[0-9]*"' | cut -d'"' -f4 | xargs`

// values leaves of an answer the values of the records, in a line.
const values = ` | grep -o '"value":"[a-z]*"' | cut -d'"' -f4 | xargs`
