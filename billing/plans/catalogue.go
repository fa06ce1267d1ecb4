package plans

import (
	"bytes"
	_ "embed"
	"fmt"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// Plan is an entry of the catalogue.
type Plan struct {
	ID     string
	Title  string
	Limits Limits
	Price  Price
}

// Price is what a plan costs, in the smallest unit of its currency, such as
// cents.
type Price struct {
	// Currency is a code of ISO 4217 in upper case; empty where nothing costs.
	Currency string `yaml:"currency"`
	// Month is a month of the plan itself.
	Month int64 `yaml:"month"`

	// What is used costs:

	// MillionRequests is for a million calls.
	MillionRequests int64 `yaml:"million_requests"`
	// CPUHour is for a core of a running container, for an hour.
	CPUHour int64 `yaml:"cpu_hour"`
	// MemoryGiBHour is for a GiB of memory of a running container, for an hour.
	MemoryGiBHour int64 `yaml:"memory_gib_hour"`
	// StoredGiBMonth is for a GiB in store and events, for 30 days.
	StoredGiBMonth int64 `yaml:"stored_gib_month"`
	// EgressGiB is for a GiB that leaves the platform.
	EgressGiB int64 `yaml:"egress_gib"`
	// BuildMinute is for a minute of building.
	BuildMinute int64 `yaml:"build_minute"`
}

// Units answers what is used and what it costs, by name.
func (p Price) Units() map[string]int64 {
	return map[string]int64{
		"million_requests": p.MillionRequests, "cpu_hour": p.CPUHour, "memory_gib_hour": p.MemoryGiBHour,
		"stored_gib_month": p.StoredGiBMonth, "egress_gib": p.EgressGiB, "build_minute": p.BuildMinute,
	}
}

// PriceOf is the reverse of Units.
func PriceOf(currency string, month int64, units map[string]int64) Price {
	return Price{
		Currency: currency, Month: month,
		MillionRequests: units["million_requests"], CPUHour: units["cpu_hour"], MemoryGiBHour: units["memory_gib_hour"],
		StoredGiBMonth: units["stored_gib_month"], EgressGiB: units["egress_gib"], BuildMinute: units["build_minute"],
	}
}

// Catalogue is all plans, in its own order: smallest first.
type Catalogue struct{ Plans []*Plan }

// Find answers a plan, or nil.
func (c *Catalogue) Find(id string) *Plan {
	for _, p := range c.Plans {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// Local is the plan of a server of one's own. Every catalogue has it: it is the
// default, and the plan of the namespace micro.
const Local = "local"

// standard is the catalogue of a server that is given no other.
//
//go:embed plans.yaml
var standard []byte

// Standard answers the catalogue that comes with the server.
func Standard() (*Catalogue, error) { return Read("plans.yaml", standard) }

// entry is a plan as the file has it.
type entry struct {
	ID     string            `yaml:"id"`
	Title  string            `yaml:"title"`
	Price  Price             `yaml:"price"`
	Limits map[string]string `yaml:"limits"`
}

// Read reads a catalogue and checks all of it. name is the file's, for errors.
func Read(name string, data []byte) (*Catalogue, error) {
	var file struct {
		Plans []entry `yaml:"plans"`
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := &Catalogue{}
	for n, e := range file.Plans {
		p, err := e.plan()
		if err != nil {
			return nil, fmt.Errorf("%s: plans[%d] %q: %w", name, n, clip(e.ID), err)
		}
		if c.Find(p.ID) != nil {
			return nil, fmt.Errorf("%s: plans[%d]: id %q is there twice", name, n, p.ID)
		}
		c.Plans = append(c.Plans, p)
	}
	if c.Find(Local) == nil {
		return nil, fmt.Errorf("%s: plans: there is no plan with the id %q, which every catalogue has", name, Local)
	}
	return c, nil
}

var (
	idRule       = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)
	currencyRule = regexp.MustCompile(`^[A-Z]{3}$`)
)

func (e entry) plan() (*Plan, error) {
	p := &Plan{ID: e.ID, Title: e.Title, Price: e.Price}
	switch {
	case !idRule.MatchString(e.ID):
		return nil, fmt.Errorf("id: 1 to 31 lower-case letters, digits and hyphens, starting with a letter")
	case e.ID == "default":
		return nil, fmt.Errorf("id: \"default\" stands for the server's default, choose another")
	case e.Title == "" || len(e.Title) > 64:
		return nil, fmt.Errorf("title: 1 to 64 bytes")
	}
	if err := e.Price.check(); err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, i := range All() {
		known[i.Name] = true
		text, ok := e.Limits[i.Name]
		if !ok {
			return nil, fmt.Errorf("limits: %s is missing (in %s)", i.Name, i.Unit)
		}
		v, err := i.parse(text)
		if err != nil {
			return nil, fmt.Errorf("limits: %w", err)
		}
		p.Limits.set(i, v)
	}
	for name := range e.Limits {
		if !known[name] {
			return nil, fmt.Errorf("limits: there is no limit %q", clip(name))
		}
	}
	return p, p.Limits.check()
}

func (p Price) check() error {
	costs := p.Month != 0
	for name, v := range p.Units() {
		if v < 0 {
			return fmt.Errorf("price: %s is %d, less than nothing", name, v)
		}
		costs = costs || v != 0
	}
	switch {
	case p.Month < 0:
		return fmt.Errorf("price: month is %d, less than nothing", p.Month)
	case p.Currency == "" && costs:
		return fmt.Errorf("price: currency is missing")
	case p.Currency != "" && !currencyRule.MatchString(p.Currency):
		return fmt.Errorf("price: currency is %q, not three capital letters such as EUR", clip(p.Currency))
	}
	return nil
}
