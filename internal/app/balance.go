package app

import (
	"encoding/json"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/micro/platform/internal/grants"
)

// balanced is the service config of gRPC for components in other processes. Calls
// go in turn to all instances that are healthy by their own word: one that drains
// gets no more. One that only reads is made once more, at another instance, when
// its own breaks off; not where most calls fail.
var balanced = sync.OnceValue(func() string {
	b, err := json.Marshal(map[string]any{
		"loadBalancingConfig": []any{map[string]any{"round_robin": struct{}{}}},
		"healthCheckConfig":   map[string]string{"serviceName": ""},
		"methodConfig": []any{map[string]any{
			"name": reads(),
			"retryPolicy": map[string]any{
				"maxAttempts": 2, "initialBackoff": "0.02s", "maxBackoff": "0.02s", "backoffMultiplier": 1, "retryableStatusCodes": []string{"UNAVAILABLE"},
			},
		}},
		"retryThrottling": map[string]any{"maxTokens": 100, "tokenRatio": 0.5},
	})
	if err != nil { // maps of strings and numbers
		panic(err)
	}
	return string(b)
})

// methodName is how a service config names a method.
type methodName struct {
	Service string `json:"service"`
	Method  string `json:"method"`
}

// reads are the platform's methods that only read, of those that this program
// knows.
func reads() []methodName {
	var out []methodName
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				method := string(s.Methods().Get(j).Name())
				if grants.OnlyReads(string(f.Package()), string(s.Name())+"."+method) {
					out = append(out, methodName{string(s.FullName()), method})
				}
			}
		}
		return true
	})
	return out
}
