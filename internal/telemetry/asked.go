package telemetry

import (
	"context"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// askWithin bounds how long a number may take that a database is asked for.
const askWithin = 2 * time.Second

// asked are numbers that are asked for when they are read. What cannot be
// answered is left out.
type asked struct {
	descs []*prometheus.Desc
	ask   func(ctx context.Context) ([]float64, error)
}

// Describe implements prometheus.Collector.
func (a asked) Describe(c chan<- *prometheus.Desc) {
	for _, d := range a.descs {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (a asked) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	values, err := a.ask(ctx)
	if err != nil {
		return
	}
	for i, d := range a.descs {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, values[i])
	}
}

func describe(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

// Queue adds work of a component that waits: how much, and for how long the
// oldest.
func (m *Metrics) Queue(component, queue string, ask func(ctx context.Context) (waiting int64, oldest time.Duration, err error)) {
	m.of(component, "queue", queue).MustRegister(asked{
		[]*prometheus.Desc{
			describe("micro_queue_waiting", "Work that waits."),
			describe("micro_queue_oldest_seconds", "How long the oldest work has waited."),
		},
		func(ctx context.Context) ([]float64, error) {
			waiting, oldest, err := ask(ctx)
			return []float64{float64(waiting), oldest.Seconds()}, err
		}})
}

// Disk adds the disk of a directory that a component, or what it uses, keeps
// something in. One that is not on this host is left out.
func (m *Metrics) Disk(component, name string, dir func(ctx context.Context) (string, error)) {
	m.of(component, "disk", name).MustRegister(asked{
		[]*prometheus.Desc{
			describe("micro_disk_size_bytes", "Size of a disk that a component writes to."),
			describe("micro_disk_available_bytes", "Bytes of it that are free."),
		},
		func(ctx context.Context) ([]float64, error) {
			at, err := dir(ctx)
			if err != nil {
				return nil, err
			}
			var s syscall.Statfs_t
			err = syscall.Statfs(at, &s)
			return []float64{float64(s.Blocks) * float64(s.Bsize), float64(s.Bavail) * float64(s.Bsize)}, err
		}})
}

// Ask adds a number of a component that takes a question to somebody.
func (m *Metrics) Ask(component, name, help string, ask func(ctx context.Context) (float64, error)) {
	m.of(component).MustRegister(asked{[]*prometheus.Desc{describe(name, help)}, func(ctx context.Context) ([]float64, error) {
		v, err := ask(ctx)
		return []float64{v}, err
	}})
}

// Leads adds whether this process does work that one process does for all.
func (m *Metrics) Leads(component, work string, leads func() bool) {
	m.of(component, "work", work).MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "micro_leader", Help: "Whether the process does the work that one does for all."}, func() float64 {
		if leads() {
			return 1
		}
		return 0
	}))
}
