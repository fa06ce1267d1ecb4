BIN := $(CURDIR)/bin

## generate: write the Go code of the protos
generate:
	cd tools && go build -o $(BIN)/ ./generate \
		google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc \
		github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2
	$(BIN)/generate proto $(BIN)
