package telemetry

import (
	"context"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// buckets are few, since there is a histogram for each method and outcome.
var buckets = []float64{.001, .005, .02, .1, .5, 2, 10, 60}

// Metrics are the numbers of a process. Labels are components, methods that are
// served, and outcomes; never a namespace, an account or what a caller named.
type Metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.HistogramVec
	streams  *prometheus.CounterVec
	open     *prometheus.GaugeVec
	edge     *prometheus.HistogramVec
}

// NewMetrics makes the metrics of a process, with those of Go and of health.
func NewMetrics(h *Health) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "micro_call_seconds", Buckets: buckets,
			Help: "Unary calls that components have answered."}, []string{"component", "method", "code"}),
		streams: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "micro_streams_total",
			Help: "Streams of components that have ended."}, []string{"component", "method", "code"}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "micro_streams_open",
			Help: "Streams of components that are open."}, []string{"component"}),
		edge: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "micro_edge_call_seconds", Buckets: buckets,
			Help: "Calls through an edge, with the gRPC code or the HTTP status they ended in."}, []string{"component", "code"}),
	}
	m.registry.MustRegister(m.calls, m.streams, m.open, m.edge, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), dependencies{h})
	return m
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Gauge adds a number of a component that is asked for when it is read.
func (m *Metrics) Gauge(component, name, help string, value func() float64) {
	m.of(component).MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

func (m *Metrics) of(component string, more ...string) prometheus.Registerer {
	labels := prometheus.Labels{"component": component}
	for i := 0; i+1 < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	return prometheus.WrapRegistererWith(labels, m.registry)
}

// Pool adds the connections of a component to Postgres.
func (m *Metrics) Pool(component string, pool *pgxpool.Pool) {
	gauge := func(name, help string, value func(*pgxpool.Stat) float64) {
		m.Gauge(component, name, help, func() float64 { return value(pool.Stat()) })
	}
	gauge("micro_postgres_connections", "Connections to Postgres.", func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) })
	gauge("micro_postgres_connections_used", "Connections to Postgres that are in use.", func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) })
	gauge("micro_postgres_connections_max", "Connections to Postgres there may be.", func(s *pgxpool.Stat) float64 { return float64(s.MaxConns()) })
	gauge("micro_postgres_waits", "Times that somebody had to wait for a connection to Postgres.", func(s *pgxpool.Stat) float64 { return float64(s.EmptyAcquireCount()) })
}

// Redis adds the connections of a component to a Redis.
func (m *Metrics) Redis(component, name string, client redis.UniversalClient) {
	for _, x := range []struct {
		name, help string
		value      func(*redis.PoolStats) uint32
	}{
		{"micro_redis_connections", "Connections to Redis.", func(s *redis.PoolStats) uint32 { return s.TotalConns }},
		{"micro_redis_connections_idle", "Connections to Redis that are not in use.", func(s *redis.PoolStats) uint32 { return s.IdleConns }},
		{"micro_redis_timeouts", "Times that nobody got a connection to Redis in time.", func(s *redis.PoolStats) uint32 { return s.Timeouts }},
	} {
		m.of(component, "redis", name).MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: x.name, Help: x.help},
			func() float64 { return float64(x.value(client.PoolStats())) }))
	}
}

// Edge notes a call that went through an edge.
func (m *Metrics) Edge(component, code string, took time.Duration) {
	m.edge.WithLabelValues(component, code).Observe(took.Seconds())
}

// Calls counts the calls of a component's server.
type Calls struct {
	component string
	metrics   *Metrics
}

// Calls answers what counts the calls of a component.
func (m *Metrics) Calls(component string) Calls { return Calls{component, m} }

// Unary implements rpc.Inside.
func (c Calls) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	began, code := time.Now(), codes.Internal // unless it panics
	defer func() {
		c.metrics.calls.WithLabelValues(c.component, info.FullMethod, code.String()).Observe(time.Since(began).Seconds())
	}()
	rsp, err := handler(ctx, req)
	code = outcome(ctx, err)
	return rsp, err
}

// Stream implements rpc.Inside.
func (c Calls) Stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	code := codes.Internal
	open := c.metrics.open.WithLabelValues(c.component)
	open.Inc()
	defer func() {
		open.Dec()
		c.metrics.streams.WithLabelValues(c.component, info.FullMethod, code.String()).Inc()
	}()
	err := handler(srv, s)
	code = outcome(s.Context(), err)
	return err
}

// outcome is the code of an error as a caller will see it.
func outcome(ctx context.Context, err error) codes.Code {
	switch code := errors.Code(err); {
	case code != codes.Unknown:
		return code
	case ctx.Err() == context.Canceled:
		return codes.Canceled
	case ctx.Err() != nil:
		return codes.DeadlineExceeded
	default:
		return codes.Internal
	}
}

// dependencies are the health of a process as metrics.
type dependencies struct{ health *Health }

var (
	readyDesc = prometheus.NewDesc("micro_ready", "Whether the process should get calls.", nil, nil)
	upDesc    = prometheus.NewDesc("micro_dependency_up", "Whether what a component stands on is there.", []string{"component", "dependency"}, nil)
)

// Describe implements prometheus.Collector.
func (d dependencies) Describe(c chan<- *prometheus.Desc) { c <- readyDesc; c <- upDesc }

// Collect implements prometheus.Collector.
func (d dependencies) Collect(c chan<- prometheus.Metric) {
	number := map[bool]float64{true: 1}
	r := d.health.Report()
	c <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, number[r.Ready])
	for _, x := range r.Dependencies {
		c <- prometheus.MustNewConstMetric(upDesc, prometheus.GaugeValue, number[!x.Away], x.Component, x.Name)
	}
}
