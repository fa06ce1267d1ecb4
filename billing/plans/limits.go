package plans

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Limit is how much of something a namespace may have, in the unit of the field
// that holds it. Zero is none.
type Limit int64

// Unlimited is no limit. Every negative Limit is.
const Unlimited Limit = -1

// Unlimited says whether there is no limit.
func (l Limit) Unlimited() bool { return l < 0 }

// Allows says whether one may have n.
func (l Limit) Allows(n int64) bool { return l < 0 || n <= int64(l) }

// Duration is a limit in seconds as a duration. Unlimited is the longest.
func (l Limit) Duration() time.Duration {
	if l < 0 || int64(l) > math.MaxInt64/int64(time.Second) {
		return math.MaxInt64
	}
	return time.Duration(l) * time.Second
}

// Units that are written with a suffix in the catalogue.
const (
	unitBytes   = "bytes"
	unitSeconds = "seconds"
)

// Limits is what a namespace may take. The name of a limit is what the
// catalogue, the API and the command line call it.
type Limits struct {
	// Services is how many services may be deployed.
	Services Limit `name:"services" unit:"services"`
	// Replicas is how many containers a service may have.
	Replicas Limit `name:"replicas" unit:"replicas per service"`
	// CPU is what a container may have, in thousandths of a core.
	CPU Limit `name:"cpu" unit:"millicores per replica"`
	// Memory is what a container may have, in bytes.
	Memory Limit `name:"memory" unit:"bytes"`
	// Disk is what a container may write, in bytes.
	Disk Limit `name:"disk" unit:"bytes"`
	// LogRetention is how long logs are kept, in seconds.
	LogRetention Limit `name:"log_retention" unit:"seconds"`

	// BuildMinutes is how long builds may take together, in minutes per calendar
	// month.
	BuildMinutes Limit `name:"build_minutes" unit:"minutes per month"`
	// Builds is how many builds may run at once.
	Builds Limit `name:"builds" unit:"builds at once"`

	// Rate is how many calls the namespace may make, per second.
	Rate Limit `name:"rate" unit:"requests per second"`
	// Burst is how many calls may come at once after a pause; at least Rate.
	Burst Limit `name:"burst" unit:"requests"`
	// AccountRate is how many calls an account may make, per second.
	AccountRate Limit `name:"account_rate" unit:"requests per second"`
	// TokenRate is how many calls may be made with an API token, per second.
	TokenRate Limit `name:"token_rate" unit:"requests per second"`
	// Requests is how many calls the namespace may make in a calendar month.
	Requests Limit `name:"requests" unit:"requests per month"`
	// Egress is what may leave the platform, in bytes per calendar month.
	Egress Limit `name:"egress" unit:"bytes per month"`

	// Keys is how many records the store keeps.
	Keys Limit `name:"keys" unit:"keys"`
	// StoreBytes is how much the store keeps, keys and blobs included, in bytes.
	StoreBytes Limit `name:"store_bytes" unit:"bytes"`
	// ValueBytes is how large a record's value may be, in bytes.
	ValueBytes Limit `name:"value_bytes" unit:"bytes"`

	// Topics is how many topics of events there may be.
	Topics Limit `name:"topics" unit:"topics"`
	// EventRate is how many events may be published, per second.
	EventRate Limit `name:"event_rate" unit:"events per second"`
	// EventRetention is how long events are kept, in seconds.
	EventRetention Limit `name:"event_retention" unit:"seconds"`
	// EventBytes is how much the events of all topics take, dead letters
	// included, in bytes.
	EventBytes Limit `name:"event_bytes" unit:"bytes"`

	// Members is how many people the namespace may have, its owner included.
	Members Limit `name:"members" unit:"members"`
}

// Info describes a limit.
type Info struct {
	// Name is what the limit is called, such as "store_bytes".
	Name string
	// Unit is what its values count, such as "bytes per month".
	Unit string
	// field is the index in Limits.
	field int
}

// All describes every limit, in the order of Limits.
func All() []Info {
	t := reflect.TypeFor[Limits]()
	out := make([]Info, t.NumField())
	for i := range out {
		f := t.Field(i)
		out[i] = Info{Name: f.Tag.Get("name"), Unit: f.Tag.Get("unit"), field: i}
	}
	return out
}

// Get answers the value of a limit.
func (l *Limits) Get(i Info) Limit {
	return Limit(reflect.ValueOf(l).Elem().Field(i.field).Int())
}

func (l *Limits) set(i Info, v Limit) {
	reflect.ValueOf(l).Elem().Field(i.field).SetInt(int64(v))
}

// Map answers every limit by its name.
func (l *Limits) Map() map[string]int64 {
	out := map[string]int64{}
	for _, i := range All() {
		out[i.Name] = int64(l.Get(i))
	}
	return out
}

// FromMap is the reverse of Map. What is not in it is unlimited, and what is
// unknown is left out: it may come from a server that knows more, or less.
func FromMap(m map[string]int64) Limits {
	var l Limits
	for _, i := range All() {
		v, ok := m[i.Name]
		if !ok {
			v = int64(Unlimited)
		}
		l.set(i, Limit(v))
	}
	return l
}

// With answers the limits with some of them replaced, by name. Unknown names
// are left out; CheckOwn refuses them where they come in.
func (l Limits) With(own map[string]int64) Limits {
	for _, i := range All() {
		if v, ok := own[i.Name]; ok {
			l.set(i, Limit(v))
		}
	}
	return l
}

// CheckOwn says what is wrong with limits of one namespace that stand in for
// those of its plan.
func (l Limits) CheckOwn(own map[string]int64) error {
	known := map[string]bool{}
	for _, i := range All() {
		known[i.Name] = true
	}
	for name, v := range own {
		if !known[name] {
			return fmt.Errorf("limits: there is no limit %q", name)
		}
		if v < int64(Unlimited) {
			return fmt.Errorf("limits: %s is %d, not a number from 0, or -1 for unlimited", name, v)
		}
	}
	l = l.With(own)
	return l.check()
}

// check finds what contradicts itself.
func (l *Limits) check() error {
	if !l.Burst.Unlimited() && (l.Rate.Unlimited() || l.Burst < l.Rate) {
		return fmt.Errorf("limits: burst is %d, less than rate: it has to allow the calls of one second", l.Burst)
	}
	for name, part := range map[string]Limit{"account_rate": l.AccountRate, "token_rate": l.TokenRate} {
		if !l.Rate.Unlimited() && !part.Unlimited() && part > l.Rate {
			return fmt.Errorf("limits: %s is %d, more than rate, which is %d", name, part, l.Rate)
		}
	}
	return nil
}

// parse reads a limit as the catalogue and people write it: "unlimited", a
// number, or with a suffix that fits the unit, "64MiB", "7d".
func (i Info) parse(text string) (Limit, error) {
	if text == "unlimited" {
		return Unlimited, nil
	}
	var suffixes []suffix
	switch {
	case strings.HasPrefix(i.Unit, unitBytes):
		suffixes = byteSuffixes
	case strings.HasPrefix(i.Unit, unitSeconds):
		suffixes = timeSuffixes
	}
	factor, number := int64(1), text
	for _, s := range suffixes {
		if rest, ok := strings.CutSuffix(text, s.name); ok {
			factor, number = s.factor, rest
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, fmt.Errorf("%s is %q, not a number of %s%s or \"unlimited\"", i.Name, clip(text), i.Unit, hint(suffixes))
	}
	return Limit(n * factor), nil
}

// Parse reads the value of a limit that people name.
func Parse(name, value string) (int64, error) {
	for _, i := range All() {
		if i.Name == name {
			l, err := i.parse(value)
			return int64(l), err
		}
	}
	return 0, fmt.Errorf("there is no limit %q", clip(name))
}

// Format writes a value of the limit, as parse reads it.
func (i Info) Format(v Limit) string {
	if v.Unlimited() {
		return "unlimited"
	}
	var suffixes []suffix
	switch {
	case strings.HasPrefix(i.Unit, unitBytes):
		suffixes = byteSuffixes
	case strings.HasPrefix(i.Unit, unitSeconds):
		suffixes = timeSuffixes
	}
	for _, s := range suffixes {
		if v != 0 && int64(v)%s.factor == 0 {
			return strconv.FormatInt(int64(v)/s.factor, 10) + s.name
		}
	}
	return strconv.FormatInt(int64(v), 10)
}

// suffix is a unit that stands behind a number.
type suffix struct {
	name   string
	factor int64
}

// Largest first.
var (
	byteSuffixes = []suffix{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
	timeSuffixes = []suffix{{"d", 24 * 3600}, {"h", 3600}, {"m", 60}, {"s", 1}}
)

func hint(suffixes []suffix) string {
	if len(suffixes) == 0 {
		return ""
	}
	names := make([]string, len(suffixes))
	for i, s := range suffixes {
		names[i] = s.name
	}
	return " with or without one of " + strings.Join(names, ", ") + ","
}

func clip(s string) string { return s[:min(len(s), 64)] }
