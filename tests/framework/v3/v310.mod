module framework/v3

go 1.16

require (
	github.com/golang/protobuf v1.5.2
	github.com/micro/micro/v3 v3.10.1
	google.golang.org/protobuf v1.27.1
)
