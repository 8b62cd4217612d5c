# Type "make" for the list of targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
IMAGE_REPOSITORY ?= localhost
IMAGE_TOOL ?= $(firstword $(foreach tool,buildah podman docker,$(if $(shell command -v $(tool)),$(tool))))

# What "make test" tests; WHAT=./pkg/osbuild tests one package, ARGS="-run TestPlan -v" goes to go test.
WHAT ?= ./cmd/... ./pkg/... ./test/arch/... ./test/differential/... ./test/integration/... ./test/manifests/...
ARGS ?=

# How many sequences "make model" plays.
MODEL ?= 20000

# How long "make fuzz" runs each target.
FUZZTIME ?= 20s

# Modules with Go code of our own; test/ignition only pins what a test builds.
MODULES := ./ $(foreach module,$(dir $(wildcard test/*/go.mod)),$(if $(wildcard $(module)*.go $(module)*/*.go),$(module)))

# Where a module keeps packages with golden files.
GOLDEN_DIRS := cmd pkg internal

LDFLAGS := -s -w -X github.com/machine-os-builder/machine-os-builder/pkg/version.Version=$(VERSION)

TOOLS := $(CURDIR)/bin/tools
CLUSTER := $(GO) -C test/cluster run .

##@ Build

.PHONY: build
build: ## Build the static binaries into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: image
image: build ## Build the container images with buildah, podman or docker
	@test -n '$(IMAGE_TOOL)' || { echo 'install buildah, podman or docker to build images' >&2; exit 1; }
	$(IMAGE_TOOL) build --target controller $(IMAGE_FLAGS) -t $(IMAGE_REPOSITORY)/machine-os-builder:$(VERSION) .
	$(IMAGE_TOOL) build --target builder $(IMAGE_FLAGS) -t $(IMAGE_REPOSITORY)/os-image-builder:$(VERSION) .
	$(IMAGE_TOOL) build --target git $(IMAGE_FLAGS) -t $(IMAGE_REPOSITORY)/os-image-builder-git:$(VERSION) .

##@ Test

.PHONY: test
test: test-setup ## Run unit, architecture, differential and integration tests (WHAT=./pkg/..., ARGS=-v)
	MOB_TEST_BINARIES="$$($(CLUSTER) binaries etcd kube-apiserver kube-controller-manager kubectl)" $(GO) test -count=1 -timeout 40m $(ARGS) $(WHAT)
	$(if $(filter file,$(origin WHAT)),$(GO) -C test/cluster test -count=1 $(ARGS) ./...)
	$(if $(filter file,$(origin WHAT)),$(GO) -C test/s2i test -count=1 $(ARGS) ./...)
	$(if $(filter file,$(origin WHAT)),$(GO) -C test/gitssh test -count=1 $(ARGS) ./...)
	$(if $(filter file,$(origin WHAT)),MOB_TEST_BINARIES="$$($(CLUSTER) binaries etcd kube-apiserver kube-controller-manager kubectl)" $(GO) -C test/observability test -count=1 $(ARGS) ./...)

.PHONY: integration
integration: ## Run the tests on a real kube-apiserver and etcd
	MOB_MODEL_SEQUENCES="$${MOB_MODEL_SEQUENCES:-2400}" $(MAKE) test WHAT=./test/integration/...

.PHONY: model
model: ## Play MODEL random sequences (default 20000) against the controller on a real API server
	MOB_MODEL_SEQUENCES=$(MODEL) $(MAKE) test WHAT=./test/integration ARGS='-v -timeout 12h -run ^TestModel$$$$ $(ARGS)'

.PHONY: test-setup
test-setup:
	test/ci/packages gcc git libc6-dev libblkid-dev openssh-client
	$(CLUSTER) binaries etcd kube-apiserver kube-controller-manager kubectl >/dev/null

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME each (default 20s)
	grep -rHoE '^func Fuzz[[:alnum:]]+' --include='*_test.go' cmd pkg | sed -E 's|/[^/]+:func | |' | sort | while read -r package target; do \
	  echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "./$$package" </dev/null; \
	done

.PHONY: e2e
e2e: cluster-images ## Run the scenarios on the cluster (needs root)
	test/ci/packages buildah createrepo-c git rpm
	$(if $(ARGS),,$(GO) test -tags e2e -count=1 ./pkg/sourcebuild)
	$(if $(ARGS),,$(GO) -C test/s2i test -tags e2e -count=1 -run '^TestBuildah$$' ./...)
	$(GO) test -tags e2e -count=1 -timeout 45m $(ARGS) ./test/e2e/...

.PHONY: bench
bench: cluster-images ## Measure on the cluster (needs root)
	eval "$$($(CLUSTER) env)" && $(GO) run ./test/bench $(ARGS)

.PHONY: bench-scale
bench-scale: test-setup ## Measure the controller with 100 and 1,000 pools, without a cluster
	MOB_TEST_BINARIES="$$($(CLUSTER) binaries etcd kube-apiserver kube-controller-manager kubectl)" $(GO) run ./test/bench/scale $(ARGS)

.PHONY: demo
demo: cluster-images ## Show the product at work on a cluster made for it; BUILDER=openshift-image-builder by Builds (needs root)
	$(GO) run ./test/e2e/demo $(if $(BUILDER),--builder=$(BUILDER)) $(ARGS)

##@ Cluster (needs root)

.PHONY: cluster-up
cluster-up: ## Start the single-node cluster, or repair it
	$(CLUSTER) up

.PHONY: cluster-images
cluster-images: build cluster-up ## Start the cluster and put the product's images on its node
	$(CLUSTER) images

.PHONY: cluster-down
cluster-down: ## Stop the cluster and leave nothing of it behind
	$(CLUSTER) down

##@ Source

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## Format the Go code
	for module in $(MODULES); do (cd $$module && $(TOOLS)/golangci-lint fmt ./...); done

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## Run the linters
	for module in $(MODULES); do (cd $$module && $(TOOLS)/golangci-lint run ./...); done

.PHONY: generate
generate: ## Write the CRDs from the vendored API types
	$(GO) -C test/tools run ./crds

.PHONY: update-golden
update-golden: ## Rewrite the golden files of the tests; read the diff
	for module in $(MODULES); do \
	  (cd $$module; packages=$$({ grep -rlsF 'flag.Bool("update"' --include='*_test.go' $(GOLDEN_DIRS) || true; } | xargs -r -n1 dirname | sort -u | sed 's|^|./|'); \
	  [ -z "$$packages" ] || $(GO) test $$packages -update); \
	done

.PHONY: verify
verify: ## Check generated files, vendor, format, lint, imports, file sizes, manifests, clean tree
	test/ci/verify

.PHONY: clean
clean: ## Remove what was built; the cluster stays (see cluster-down)
	rm -rf bin

.PHONY: help
help:
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(TOOLS)/golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(TOOLS)/kustomize: PACKAGE := sigs.k8s.io/kustomize/kustomize/v5
$(TOOLS)/%: test/tools/go.mod test/tools/go.sum
	$(GO) -C test/tools build -o $@ $(PACKAGE)
