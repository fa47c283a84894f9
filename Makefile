# Contiv Network. `make help` lists the verbs.

SHELL       := /bin/bash
IMAGE       ?= contiv/contiv
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT      ?= $(shell git rev-parse --short HEAD 2>/dev/null)
BUILT       ?= $(shell date -u +%Y-%m-%dT%H:%M:%SZ)
LDFLAGS     := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.built=$(BUILT)
PROGRAMS    := netmaster netplugin netctl contivk8s
# Namespaces and eBPF need root.
AS_ROOT     := $(if $(filter 0,$(shell id -u)),,sudo -E env "PATH=$$PATH")
NODE        ?= tutorial-node1
KUBE_NODE   := $(if $(filter tutorial-node1,$(NODE)),kubeadm-master,$(NODE))
DEMO        ?= up
BENCH       ?=
FOCUS       ?=
SUITE       ?=

.PHONY: help build image demo demo-hosts demo-shell demo-down demo-k8s demo-k8s-shell demo-k8s-down test test-unit test-crash test-engines test-k8s test-k8s-conformance bench generate check clean

help: ## list these verbs
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

build: ## build bin/netmaster, bin/netplugin, bin/netctl and bin/contivk8s, one static binary each
	@mkdir -p bin
	@for p in $(PROGRAMS); do [ -d cmd/$$p ] || continue; echo "building bin/$$p"; CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/$$p ./cmd/$$p || exit 1; done

image: build ## bin/contiv-image.tar, the container image of the four programs, without an engine: docker load or ctr images import takes it
	@CGO_ENABLED=0 go run ./deploy/image -o bin/contiv-image.tar -names $(IMAGE):$(VERSION),$(IMAGE):latest $(PROGRAMS:%=bin/%)
	@echo "bin/contiv-image.tar is $(IMAGE):$(VERSION) and $(IMAGE):latest"

demo: ## two hosts with real Docker engines on this machine, and the tutorial before your eyes
	@test/prepare run
	@$(MAKE) --no-print-directory build
	@CGO_ENABLED=0 go build -trimpath -o bin/demo ./test/demo
	@$(AS_ROOT) bin/demo $(DEMO)

demo-hosts: ## the two hosts without the tutorial, to type it yourself
	@$(MAKE) --no-print-directory demo DEMO=hosts

demo-shell: ## a shell on a host of the demo: make demo-shell NODE=tutorial-node2
	@[ -x bin/demo ] || { echo "no demo is up: make demo starts it" >&2; exit 1; }
	@$(AS_ROOT) bin/demo shell $(NODE)

demo-down: ## remove every trace of the demo
	@[ -x bin/demo ] || CGO_ENABLED=0 go build -trimpath -o bin/demo ./test/demo
	@$(AS_ROOT) bin/demo down

demo-k8s: ## the same with Kubernetes: two nodes, Contiv installed by its manifests, the tutorial (builds Kubernetes first: a quarter of an hour, once)
	@test/prepare kubernetes
	@$(MAKE) --no-print-directory image
	@CGO_ENABLED=0 go build -trimpath -o bin/demo ./test/demo
	@kubernetes=$$(test/kubernetes) && $(AS_ROOT) env CONTIV_TEST_KUBERNETES="$$kubernetes" bin/demo kubernetes "$(CURDIR)" "$(CURDIR)/bin/contiv-image.tar"

demo-k8s-shell: ## a shell on a node of it: make demo-k8s-shell NODE=kubeadm-worker0
	@[ -x bin/demo ] || { echo "no demo is up: make demo-k8s starts it" >&2; exit 1; }
	@kubernetes=$$(test/kubernetes) && $(AS_ROOT) env CONTIV_TEST_KUBERNETES="$$kubernetes" bin/demo kubernetes-shell $(KUBE_NODE)

demo-k8s-down: ## remove every trace of it
	@[ -x bin/demo ] || CGO_ENABLED=0 go build -trimpath -o bin/demo ./test/demo
	@$(AS_ROOT) bin/demo kubernetes-down

test: ## all tests, those of whole systems and of a Kubernetes cluster too (needs root or sudo; installs and builds what is missing)
	@test/prepare build
	@$(MAKE) --no-print-directory check build
	@$(AS_ROOT) test/all
	@$(MAKE) --no-print-directory test-k8s

test-unit: ## the tests that need no privilege and take seconds
	go test -short ./...

test-crash: ## three masters and their etcds killed at random for a minute, while 64 clients write (CONTIV_TEST_SEED=n for the same choices again)
	CONTIV_TEST_CRASH=$${CONTIV_TEST_CRASH:-1m} go test ./test -count=1 -v -timeout 15m -run '^TestKilledMasters'

test-engines: ## the Docker tests with Debian's engine and with a current one built from its module
	@test/prepare build
	@$(MAKE) --no-print-directory build
	@$(AS_ROOT) test/engines

test-k8s: ## the tests with a real Kubernetes cluster, whose programs are built from their modules, once (a quarter of an hour)
	@test/prepare kubernetes
	@kubernetes=$$(test/kubernetes) && $(AS_ROOT) env CONTIV_TEST_KUBERNETES="$$kubernetes" PACKAGES=./test LOG=.cache/test-k8s.log test/all -tags kubernetes -run OfKubernetes

test-k8s-conformance: ## others' suites on a real Kubernetes cluster, and docs/conformance.md of them (an hour); FOCUS=regexp for some tests, SUITE=kubernetes|cyclonus|cluster-policies for one
	@test/prepare run
	@kubernetes=$$(test/kubernetes) && suites=$$(test/kubernetes suites) && $(AS_ROOT) env CONTIV_TEST_KUBERNETES="$$kubernetes" CONTIV_TEST_SUITES="$$suites" \
		go test -tags conformance -count=1 -v -timeout 5h ./test/conformance -update -focus '$(FOCUS)' -suite '$(SUITE)'

bench: ## the benchmark table: ratios to the bare path, beside Docker's own networks (needs root or sudo); BENCH=-dns for names alone, -cni for pods
	@test/prepare run
	@$(MAKE) --no-print-directory build
	@CGO_ENABLED=0 go build -trimpath -o bin/bench ./bench
	@coredns=$$(bench/coredns) || echo "CoreDNS cannot be built, so it is not measured" >&2; \
		bridge=$$(bench/bridge) || echo "CNI's bridge cannot be built, so it is not measured" >&2; \
		$(AS_ROOT) bin/bench -coredns "$$coredns" -bridge "$$bridge" $(BENCH)

generate: ## rebuild generated files (eBPF objects and their Go side, deploy/k8s/contiv.yaml of the Helm chart)
	go generate ./...
	deploy/chart

check: generate ## formatting, vet, and that generated files are what their sources give
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	go vet ./...
	go vet -tags "kubernetes conformance" ./test/...
	@git diff --exit-code --stat -- '*_bpfel.go' '*_bpfel.o' deploy/k8s/contiv.yaml || { echo "generated files are stale: commit what make generate made"; exit 1; }

clean: ## remove what was built
	rm -rf bin .cache
