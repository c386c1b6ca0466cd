package app

import (
	"context"
	"net/http"
	"net/http/pprof"
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
	}
	m.registry.MustRegister(m.passes, m.syncPanics, m.requestPanics, m.deliveryPanics, m.indexPanics, m.sends, m.sendPanics, accountStates{a}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
		Panic: func(mail.AccountID, any) { m.syncPanics.Inc() },
	}
}

func (m *metrics) sendEvents() sender.Events {
	return sender.Events{Ended: func(s mail.SendState) { m.sends.WithLabelValues(string(s)).Inc() }, Panic: m.sendPanics.Inc}
}

// accountStates counts the accounts by state, and shows how stale the stalest is, at each scrape.
type accountStates struct{ a *App }

func (accountStates) Describe(ch chan<- *prometheus.Desc) {
	ch <- accountsDesc()
	ch <- freshnessDesc()
}

func accountsDesc() *prometheus.Desc {
	return prometheus.NewDesc("posthorn_accounts", "Accounts by sync state.", []string{"state"}, nil)
}

func freshnessDesc() *prometheus.Desc {
	return prometheus.NewDesc("posthorn_account_freshness_seconds", "Seconds since the account was last proven equal to the server.", []string{"account"}, nil)
}

func (s accountStates) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, err := s.a.store.Accounts(ctx, store.AccountQuery{})
	if err != nil {
		ch <- prometheus.NewInvalidMetric(accountsDesc(), err)
		return
	}
	count := map[mail.State]int{}
	for _, acct := range all {
		st := acct.Sync
		if now, running := s.a.engine.Status(acct.ID); running {
			st = now
		}
		count[st.State]++
		if !st.FreshAt.IsZero() {
			ch <- prometheus.MustNewConstMetric(freshnessDesc(), prometheus.GaugeValue, time.Since(st.FreshAt).Seconds(), string(acct.ID))
		}
	}
	for state, n := range count {
		ch <- prometheus.MustNewConstMetric(accountsDesc(), prometheus.GaugeValue, float64(n), string(state))
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
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
