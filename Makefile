# Copyright The Passthrough Connector Operator Authors.
# SPDX-License-Identifier: Apache-2.0

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where built programs go. Nothing outside this directory and the cache
# (XDG_CACHE_HOME or ~/.cache, passthrough-connector-operator) is written.
BIN := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

##@ Start here

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*##"; printf "Usage: make <target>\n"} \
	  /^[a-zA-Z0-9_-]+:.*?##/ { printf "  \033[36m%-14s\033[0m %s\n", $$1, $$2 } \
	  /^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the whole system here: cluster, tenant, directory, operator; sign users in. KEEP=1 leaves it running
	@go run ./hack/demo up $(if $(filter-out 0,$(KEEP)),--keep)

.PHONY: demo-down
demo-down: ## End a demo that was left running with KEEP=1
	@go run ./hack/demo down

##@ Develop

.PHONY: build
build: ## Build operator, connector (Linux and Windows), tenant and directory into bin/
	go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/operator .
	go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/connector ./connector
	GOOS=windows GOARCH=amd64 CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/connector.exe ./connector
	go build -trimpath -o $(BIN)/tenant ./hack/tenant
	go build -trimpath -o $(BIN)/directory ./hack/directory

.PHONY: images
images: ## Build the container images into dist/images/, without a container engine. IMAGE=operator builds one
	cd hack/images && go run . build --version=$(VERSION) $(if $(IMAGE),--only=$(IMAGE)) $(IMAGE_FLAGS)

.PHONY: push-images
push-images: ## Push what `make images` has built to REGISTRY, such as registry.example/passthrough
	cd hack/images && go run . push ../../dist/images/operator $(or $(REGISTRY),$(error set REGISTRY))/connector-operator:$(VERSION)
	cd hack/images && go run . push ../../dist/images/connector $(REGISTRY)/connector:$(VERSION)

.PHONY: generate
generate: ## Regenerate deep copies, apply configurations, the CRD, the RBAC role and the chart's copies
	hack/generate.sh

.PHONY: test
test: ## Every test: unit with -race, wire vectors, fuzz seeds, API server, end to end. Needs only Go
	hack/test.sh

.PHONY: test-unit
test-unit: ## The tests that need no control plane, quickly
	SKIP_CLUSTER=1 hack/test.sh

.PHONY: verify
verify: ## Everything that is checked without running it: generated files, lint, format, modules, import walls
	hack/verify.sh

.PHONY: lint
lint: ## Run golangci-lint, for Linux and for the connector on Windows
	hack/lint.sh

.PHONY: bench
bench: ## Measure sign-ins, connector processes and 100 resources, each as a ratio to its own yardstick
	@go run ./hack/bench

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (default 1m)
	FUZZTIME=$(or $(FUZZTIME),1m) hack/fuzz.sh

.PHONY: clean
clean: ## Remove what was built in this directory
	rm -rf $(BIN) dist .demo
