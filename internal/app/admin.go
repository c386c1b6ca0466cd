package app

import (
	"cmp"
	"context"
	"net/http"
	"net/http/pprof"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/posthorn/posthorn/internal/mail"
	"github.com/posthorn/posthorn/internal/sender"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/syncer"
)

// metrics of one server, in a registry of its own.
type metrics struct {
	registry       *prometheus.Registry
	passes         *prometheus.CounterVec
	syncPanics     prometheus.Counter
	requestPanics  prometheus.Counter
	deliveryPanics prometheus.Counter
	indexPanics    prometheus.Counter
	sends          *prometheus.CounterVec
	sendPanics     prometheus.Counter
	eventLatency   prometheus.Histogram
}

func newMetrics(a *App) *metrics {
	m := &metrics{
		registry:       prometheus.NewRegistry(),
		passes:         prometheus.NewCounterVec(prometheus.CounterOpts{Name: "posthorn_passes_total", Help: "Completed looks at all folders of an account."}, []string{"kind"}),
		syncPanics:     prometheus.NewCounter(prometheus.CounterOpts{Name: "posthorn_sync_panics_total", Help: "Panics caught in account goroutines."}),
		requestPanics:  prometheus.NewCounter(prometheus.CounterOpts{Name: "posthorn_request_panics_total", Help: "Panics caught in API requests."}),
		deliveryPanics: prometheus.NewCounter(prometheus.CounterOpts{Name: "posthorn_delivery_panics_total", Help: "Panics caught in deliveries to webhooks."}),
		indexPanics:    prometheus.NewCounter(prometheus.CounterOpts{Name: "posthorn_index_panics_total", Help: "Panics caught while indexing for search."}),
		sends:          prometheus.NewCounterVec(prometheus.CounterOpts{Name: "posthorn_sends_total", Help: "Messages to be sent that came to their end, by how they ended."}, []string{"state"}),
		sendPanics:     prometheus.NewCounter(prometheus.CounterOpts{Name: "posthorn_send_panics_total", Help: "Panics caught while sending."}),
		eventLatency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "posthorn_event_latency_seconds",
			Help:    "From the mail server's notice that something happened until it is stored, and so told to applications.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60}}),
	}
	m.registry.MustRegister(m.eventLatency, m.passes, m.syncPanics, m.requestPanics, m.deliveryPanics, m.indexPanics, m.sends, m.sendPanics, accountStates{a}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) events() syncer.Events {
	return syncer.Events{
		Pass: func(_ mail.AccountID, full bool) {
			kind := "quick"
			if full {
				kind = "full"
			}
			m.passes.WithLabelValues(kind).Inc()
		},
		Told:  func(_ mail.AccountID, took time.Duration) { m.eventLatency.Observe(took.Seconds()) },
		Panic: func(mail.AccountID, any) { m.syncPanics.Inc() },
	}
}

func (m *metrics) sendEvents() sender.Events {
	return sender.Events{Ended: func(s mail.SendState) { m.sends.WithLabelValues(string(s)).Inc() }, Panic: m.sendPanics.Inc}
}

// accountStates tells at each scrape how the accounts are and what they use. No series is of one account but those of the
// stalest few: there may be ten thousand.
type accountStates struct{ a *App }

// stalest is how many accounts have a series of their own.
const stalest = 20

var (
	descAccounts    = prometheus.NewDesc("posthorn_accounts", "Accounts by sync state.", []string{"state"}, nil)
	descFreshness   = prometheus.NewDesc("posthorn_accounts_freshness_seconds", "Accounts by the seconds since they were last proven equal to the server; those that never were count as +Inf.", nil, nil)
	descStalest     = prometheus.NewDesc("posthorn_account_freshness_seconds", "Seconds since an account was last proven equal to the server, or since it was connected if it never was; of the stalest ones.", []string{"account"}, nil)
	descConnections = prometheus.NewDesc("posthorn_imap_connections", "Open IMAP connections.", []string{"provider"}, nil)
	descLogins      = prometheus.NewDesc("posthorn_imap_logins_total", "IMAP logins.", []string{"provider", "ok"}, nil)
	descBytes       = prometheus.NewDesc("posthorn_imap_bytes_total", "Bytes moved on IMAP connections.", []string{"provider", "direction"}, nil)
	descQuarantined = prometheus.NewDesc("posthorn_quarantined", "Messages and folders that the sync has set aside.", nil, nil)

	freshnessBuckets = []float64{30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600}
)

func (accountStates) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descAccounts, descFreshness, descStalest, descConnections, descLogins, descBytes, descQuarantined} {
		ch <- d
	}
}

func (s accountStates) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for provider, u := range s.a.engine.Usage() {
		ch <- prometheus.MustNewConstMetric(descConnections, prometheus.GaugeValue, float64(u.Connections), provider)
		ch <- prometheus.MustNewConstMetric(descLogins, prometheus.CounterValue, float64(u.Logins), provider, "true")
		ch <- prometheus.MustNewConstMetric(descLogins, prometheus.CounterValue, float64(u.FailedLogins), provider, "false")
		ch <- prometheus.MustNewConstMetric(descBytes, prometheus.CounterValue, float64(u.Received), provider, "received")
		ch <- prometheus.MustNewConstMetric(descBytes, prometheus.CounterValue, float64(u.Sent), provider, "sent")
	}
	ch <- prometheus.MustNewConstMetric(descQuarantined, prometheus.GaugeValue, float64(s.a.engine.Quarantined()))
	all, err := s.a.store.Accounts(ctx, store.AccountQuery{})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descAccounts, err)
		return
	}
	count := map[mail.State]int{}
	type age struct {
		account string
		seconds float64
	}
	var ages []age
	buckets := map[float64]uint64{}
	sum := 0.0
	for _, acct := range all {
		st := acct.Sync
		if now, running := s.a.engine.Status(acct.ID); running {
			st = now
		}
		count[st.State]++
		if st.FreshAt.IsZero() {
			ages = append(ages, age{string(acct.ID), time.Since(acct.CreatedAt).Seconds()})
			continue
		}
		a := age{string(acct.ID), time.Since(st.FreshAt).Seconds()}
		ages = append(ages, a)
		sum += a.seconds
		for _, b := range freshnessBuckets {
			if a.seconds <= b {
				buckets[b]++
			}
		}
	}
	for state, n := range count {
		ch <- prometheus.MustNewConstMetric(descAccounts, prometheus.GaugeValue, float64(n), string(state))
	}
	ch <- prometheus.MustNewConstHistogram(descFreshness, uint64(len(all)), sum, buckets)
	slices.SortFunc(ages, func(x, y age) int { return cmp.Compare(y.seconds, x.seconds) })
	for _, a := range ages[:min(len(ages), stalest)] {
		ch <- prometheus.MustNewConstMetric(descStalest, prometheus.GaugeValue, a.seconds, a.account)
	}
}

// adminHandler answers what operators and their tools ask. It is no part of the API and has a listener of its own.
func (a *App) adminHandler(m *metrics) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if !a.ready.Load() {
			http.Error(w, "starting or stopping", http.StatusServiceUnavailable)
			return
		}
		if _, err := a.store.DefaultApp(ctx); err != nil {
			a.log.Error("not ready", "op", "readyz", "err", err)
			http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /status", a.status)
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
