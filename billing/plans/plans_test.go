package plans

import (
	"strings"
	"testing"
	"time"
)

func TestStandard(t *testing.T) {
	t.Parallel()
	c, err := Standard()
	if err != nil {
		t.Fatal(err)
	}
	free, local := c.Find("free"), c.Find(Local)
	if free == nil || free.Limits.Memory != 256<<20 || free.Limits.EventRetention.Duration() != 24*time.Hour {
		t.Errorf("free = %+v", free)
	}
	if !local.Limits.Rate.Unlimited() || !local.Limits.Rate.Allows(1<<62) || local.Price.Month != 0 {
		t.Errorf("local = %+v", local)
	}
	for _, p := range c.Plans {
		if got := FromMap(p.Limits.Map()); got != p.Limits {
			t.Errorf("%s: %+v became %+v on the way", p.ID, p.Limits, got)
		}
		if got := PriceOf(p.Price.Currency, p.Price.Month, p.Price.Units()); got != p.Price {
			t.Errorf("%s: %+v became %+v on the way", p.ID, p.Price, got)
		}
	}
}

// TestEveryLimitHasAUnit shows that none is without a name or a unit, which the
// API and the command line print.
func TestEveryLimitHasAUnit(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, i := range All() {
		if i.Name == "" || i.Unit == "" || seen[i.Name] {
			t.Errorf("%+v: a name of its own and a unit expected", i)
		}
		seen[i.Name] = true
	}
}

// TestMistakes shows that an error names the plan, the field and what is wrong.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, old, new, want string }{
		{"missing limit", "      members: 3\n", "", "plans[0] \"free\": limits: members is missing (in members)"},
		{"unknown limit", "members: 3", "members: 3\n      memers: 4", `limits: there is no limit "memers"`},
		{"negative", "members: 3", "members: -3", `members is "-3"`},
		{"not a number", "members: 3", "members: many", `members is "many", not a number of members or "unlimited"`},
		{"wrong suffix", "memory: 256MiB", "memory: 256MB", `memory is "256MB"`},
		{"suffix of another unit", "members: 3", "members: 3d", `members is "3d"`},
		{"too large", "memory: 256MiB", "memory: 9999999999TiB", `memory is "9999999999TiB"`},
		{"burst below rate", "burst: 100", "burst: 49", "burst is 49, less than rate"},
		{"account above rate", "account_rate: 50\n", "account_rate: 51\n", "account_rate is 51, more than rate"},
		{"unknown field", "title: Free", "titel: Free", "field titel not found"},
		{"no title", "title: Free", "title: ''", "title: 1 to 64 bytes"},
		{"bad id", "id: free", "id: Free", "id: 1 to 31"},
		{"twice", "id: free", "id: pro", `id "pro" is there twice`},
		{"reserved", "id: free", "id: default", "stands for the server's default"},
		{"no local", "id: local", "id: own", `no plan with the id "local"`},
		{"no currency", "currency: EUR, month: 2000", "month: 2000", "currency is missing"},
		{"bad currency", "currency: EUR, month: 2000", "currency: euro, month: 2000", "three capital letters"},
		{"negative price", "cpu_hour: 4", "cpu_hour: -4", "cpu_hour is -4"},
		{"not yaml", "plans:", "\tplans", "broken.yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(string(standard), tt.old, tt.new, 1)
			if _, err := Read("broken.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Read = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestOwnLimits(t *testing.T) {
	t.Parallel()
	c, err := Standard()
	if err != nil {
		t.Fatal(err)
	}
	free := c.Find("free").Limits
	for name, tt := range map[string]struct {
		own  map[string]int64
		want string
	}{
		"more services": {map[string]int64{"services": 10}, ""},
		"unlimited":     {map[string]int64{"members": -1}, ""},
		"unknown":       {map[string]int64{"membres": 1}, `no limit "membres"`},
		"below":         {map[string]int64{"members": -2}, "members is -2"},
		"rate alone":    {map[string]int64{"rate": 500}, "burst is 100, less than rate"},
		"with burst":    {map[string]int64{"rate": 500, "burst": 500}, ""},
	} {
		if err := free.CheckOwn(tt.own); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: CheckOwn = %v, want %q in it", name, err, tt.want)
		}
	}
	if got := free.With(map[string]int64{"services": 10}); got.Services != 10 || got.Members != 3 || free.Services != 3 {
		t.Errorf("With = %+v", got)
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, out string }{
		{"memory", "1024MiB", "1GiB"}, {"memory", "1000", "1000"}, {"members", "3600", "3600"},
		{"log_retention", "48h", "2d"}, {"egress", "unlimited", "unlimited"}, {"disk", "0", "0"},
	} {
		v, err := Parse(tt.name, tt.in)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range All() {
			if i.Name == tt.name && i.Format(Limit(v)) != tt.out {
				t.Errorf("%s: %s is written %s, want %s", tt.name, tt.in, i.Format(Limit(v)), tt.out)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(standard)
	f.Add([]byte("plans: [{id: a, title: b, limits: {rate: 1d}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Read("fuzz.yaml", data)
		if err == nil && c.Find(Local) == nil {
			t.Error("a catalogue without the local plan was taken")
		}
	})
}
