package tests

import (
	"path/filepath"
	"testing"

	"github.com/micro/platform/tests/platform"
)

// TestMicroFramework deploys services that are built on the Micro framework
// itself, as people have them, and calls each of their endpoints.
func TestMicroFramework(t *testing.T) {
	t.Parallel()
	p := start(t, false)
	for _, module := range []string{"v3", "v5"} {
		t.Run(module, func(t *testing.T) {
			x := person(t, p, "user-"+module)
			runModule(t, x, module, "numbers", "relay")
			calls(t, p, x)
		})
	}
}

// runModule deploys services of a module below framework/.
func runModule(t *testing.T, x *platform.Person, module string, services ...string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("framework", module))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range services {
		expect(t, x, "running", "micro run "+filepath.Join(root, name))
	}
}

// calls goes through the endpoints of numbers, and of relay, which calls them
// in its turn.
func calls(t *testing.T, p *platform.Platform, x *platform.Person) {
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
