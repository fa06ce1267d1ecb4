BIN := $(CURDIR)/bin
VULN := v1.9.0
# Debian's package is too old for kernels of today: it takes every network for the host's own.
RUNSC := v0.0.0-20260905035102-160fafc42237

.DEFAULT_GOAL := help

## help: what there is to make
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## demo: install what is missing, and go through the whole journey on a server of its own
demo: build
	@$(BIN)/demo -micro $(BIN)/micro

## run: start the server in the foreground, data in ~/.micro/server
run: prepare build builder-image
	@$(BIN)/micro server

## build: compile micro and the programs of the demo into bin/
build:
	go build -o $(BIN)/ ./cmd/micro ./tests/demo

## test: install what is missing, and run every test, beginning with the package that takes longest
test: prepare builder-image runsc
	go run ./tests/env go test -race -timeout 30m ./tests ./...

## test-env: a shell with the servers that the tests want, to run some of them by hand
test-env: prepare
	go run ./tests/env $(or $(SHELL),sh)

## bench: measure, and print the figures
bench: prepare build builder-image
	go run ./tests/env go test -run '^$$' -bench . -benchmem ./...

## faults: kill databases and components at random for FOR=5m, cut the power, and count what is lost
faults: prepare
	MICRO_TEST_FAULTS=$(or $(FOR),5m) go run ./tests/env go test -count=1 -v -timeout 2h ./tests/faults

## multihost: run the platform over three hosts in namespaces of this machine, lose them, and count what fails
multihost: prepare builder-image runsc
	MICRO_TEST_MULTIHOST=1 go run ./tests/env go test -count=1 -v -timeout 90m ./tests/multihost

## chaos: kill, replace, overload and restore under a steady load, components apart and twice, for FOR=10m; print the figures
chaos: prepare
	MICRO_TEST_CHAOS=$(or $(FOR),10m) go run ./tests/env go test -count=1 -v -timeout 3h -run 'TestChaos$$' ./tests/faults

## fuzz: fuzz every parser of outside input for a minute each
fuzz:
	@./tests/fuzz.sh

## generate: write the Go code of the protos
generate:
	cd tools && go build -o $(BIN)/ ./generate \
		google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc \
		github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2
	$(BIN)/generate proto $(BIN)

## lint: gofmt, go vet, staticcheck
lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go mod tidy -diff
	go vet ./...
	go tool staticcheck ./...

## vuln: look for known holes in what is used; it needs the database at vuln.go.dev
vuln:
	go run golang.org/x/vuln/cmd/govulncheck@$(VULN) ./...

## builder-image: make the image that Go sources are built in, from this machine's toolchain
builder-image: build
	@$(BIN)/micro builder-image

## runsc: make gVisor's runtime for Docker, bin/runsc, which the tests start a Docker of their own with
runsc: $(BIN)/runsc

$(BIN)/runsc:
	CGO_ENABLED=0 GOBIN=$(BIN) go install gvisor.dev/gvisor/runsc@$(RUNSC)

## prepare: install what this machine lacks (Debian's packages) and start Docker
prepare:
	@./deploy/prepare.sh

## clean: remove what was built
clean:
	rm -rf $(BIN)

.PHONY: help demo run build test test-env bench faults chaos multihost fuzz generate lint vuln builder-image runsc prepare clean
