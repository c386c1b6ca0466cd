# `make` prints this list. The text behind ## is the help.
.DEFAULT_GOAL := help
SHELL := /bin/bash
GO ?= go

# The race detector needs a C compiler; nothing else does.
export CGO_ENABLED = 0
RACE := $(shell command -v gcc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1 && echo -race)

# Every test in one run; more arguments by TESTARGS, e.g. make test TESTARGS='-run Folder -v'.
PKGS ?= ./...
TESTARGS ?=
TESTTIMEOUT ?= 20m

.PHONY: help build run test check fast fuzz bench soak fmt servers generated

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/posthorn
	$(GO) build -o bin/posthorn ./cmd/posthorn

run: ## a server with a sample mailbox: nothing to configure
	$(GO) run ./cmd/posthorn demo

servers:
	@test/install.sh

test: servers ## every test: also the real servers and the built binary (installs them when missing and allowed)
	$(GO) test -timeout $(TESTTIMEOUT) $(TESTARGS) $(PKGS)

check: servers ## what must pass before a commit: build, gofmt, vet, staticcheck, generated files, short tests with the race detector
	$(GO) build ./...
	@files=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$files" ] || { echo "make fmt is needed for:"; echo "$$files"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@$(MAKE) --no-print-directory generated
	$(if $(RACE),CGO_ENABLED=1) $(GO) test -short $(RACE) -timeout $(TESTTIMEOUT) $(TESTARGS) $(PKGS)

generated:
	@before=$$(git diff | sha256sum); $(GO) generate ./... ; after=$$(git diff | sha256sum); \
	[ "$$before" = "$$after" ] || { echo "generated files were out of date; they are written now"; git status --short; exit 1; }

fast: ## unit tests only, under a minute
	$(GO) test -short ./internal/... ./cmd/...

# An input that reaches new code is made smaller; without a limit that takes a minute each, in which nothing else is tried.
fuzz: ## every fuzz target of PKGS for a minute (FUZZTIME=5m), one after the other
	@for dir in $$($(GO) list -f '{{.Dir}}' $(PKGS)); do \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(f .*/\1/p' $$dir/*_test.go 2>/dev/null); do \
			echo "$$f in $$dir"; \
			$(GO) test $$dir -run '^$$' -fuzz "^$$f$$" -fuzztime $(or $(FUZZTIME),1m) -fuzzminimizetime 200x || exit 1; \
		done; \
	done

bench: servers build ## measure beside the raw floor on a private Dovecot; arguments by BENCHARGS, e.g. '-n 2000 -rounds 1', '-nochange -n 100000', '-newmail -n 2000 -requests 100', '-faults', '-events -n 2000', '-search', '-mime' or '-million'
	@test/install.sh bench
	$(GO) run ./test/bench -posthorn bin/posthorn $(BENCHARGS)

soak: servers ## crash and live tests over and over (SOAK=50 times, SOAKKILLS=330 kills), a cut at every byte of an account's session, random histories (SOAKSTEPS=2000 steps, four of them), then chaos on 20 mailboxes (SOAKTIME=30m)
	$(GO) test -count=1 -timeout 0 -run 'Kill|Live' ./test/e2e -soak=$(or $(SOAK),50)
	$(GO) test -count=1 -timeout 0 -v -run 'TestKills$$' ./internal/syncer -kills=$(or $(SOAKKILLS),330)
	$(GO) test -count=1 -timeout 0 -v -run 'TestCutAccount$$' ./internal/syncer -cutstep=1
	$(GO) test -count=1 -timeout 0 -v ./test/model -seed=0 -histories=4 -steps=$(or $(SOAKSTEPS),2000)
	$(GO) test -count=1 -timeout 0 -v -run 'TestChaos$$' ./test/e2e -chaos=$(or $(SOAKTIME),30m)

fmt: ## gofmt everything
	gofmt -w $$(git ls-files '*.go')
