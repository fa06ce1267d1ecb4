package server

import (
	"context"
	"fmt"
	"go/token"
	"reflect"

	registrypb "github.com/micro/platform/proto/registry"
)

// Stream is the server's side of a stream. Generated code wraps it in a type
// with typed Send and Recv; a handler may take it as it is.
type Stream interface {
	Context() context.Context
	// SendMsg sends a message.
	SendMsg(m any) error
	// RecvMsg reads the next message into m, a pointer. It answers io.EOF when
	// the caller sends no more.
	RecvMsg(m any) error
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
	streamType  = reflect.TypeFor[Stream]()
)

// method is one RPC.
type method struct {
	name     string // Handler.Method
	call     reflect.Value
	request  reflect.Type // a struct; nil when the handler reads it from the stream
	response reflect.Type // a struct; nil for streams
	stream   reflect.Type // the handler's type of stream; nil for unary
	// idempotent says that a call may be made twice, as its .proto file has it.
	idempotent bool
}

// methodsOf finds the RPCs of a handler, in the order of their names.
func methodsOf(name string, handler reflect.Value) []method {
	var found []method
	for i := range handler.NumMethod() {
		call := handler.Method(i)
		t := call.Type()
		if t.IsVariadic() || t.NumIn() < 2 || t.NumIn() > 3 || t.In(0) != contextType || t.NumOut() != 1 || t.Out(0) != errorType {
			continue
		}
		m := method{name: name + "." + handler.Type().Method(i).Name, call: call}
		last := t.In(t.NumIn() - 1)
		switch {
		case isStream(last):
			m.stream = last
		case t.NumIn() == 3 && isMessage(last):
			m.response = last.Elem()
		default:
			continue
		}
		if t.NumIn() == 3 {
			if !isMessage(t.In(1)) {
				continue
			}
			m.request = t.In(1).Elem()
		}
		found = append(found, m)
	}
	return found
}

func isMessage(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}

// isStream says whether a parameter is a Stream, or a struct round one, which
// is what generated code has.
func isStream(t reflect.Type) bool {
	return t == streamType || t.Kind() == reflect.Struct && t.NumField() == 1 && t.Field(0).Type == streamType && t.Field(0).IsExported()
}

// wrap makes a value of the handler's type of stream.
func (m method) wrap(s Stream) reflect.Value {
	if m.stream == streamType {
		return reflect.ValueOf(&s).Elem()
	}
	v := reflect.New(m.stream).Elem()
	v.Field(0).Set(reflect.ValueOf(s))
	return v
}

// invoke calls the handler.
func (m method) invoke(args ...reflect.Value) error {
	err, _ := m.call.Call(args)[0].Interface().(error)
	return err
}

// endpoint describes the RPC to the registry. The messages of a stream are
// those of the typed Send and Recv, where there are any.
func (m method) endpoint() *registrypb.Endpoint {
	e := &registrypb.Endpoint{Name: m.name, Metadata: map[string]string{}}
	if m.idempotent {
		e.Metadata["idempotent"] = "true"
	}
	if m.stream == nil {
		e.Request, e.Response = describe(m.request), describe(m.response)
		return e
	}
	e.Metadata["stream"] = "true"
	e.Request = &registrypb.Value{Name: "Context", Type: "Context"}
	e.Response = &registrypb.Value{Name: "Stream", Type: "Stream"}
	if m.request != nil {
		e.Request = describe(m.request)
	} else if recv, ok := m.stream.MethodByName("Recv"); ok && m.stream != streamType {
		e.Request = describe(recv.Type.Out(0).Elem())
	}
	for _, name := range []string{"Send", "SendAndClose"} {
		if send, ok := m.stream.MethodByName(name); ok && m.stream != streamType {
			e.Response = describe(send.Type.In(1).Elem())
		}
	}
	return e
}

// handlerName is the name that RPCs of a handler have before the dot.
func handlerName(handler any) (string, error) {
	t := reflect.TypeOf(handler)
	if t == nil {
		return "", fmt.Errorf("the handler is nil")
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if !token.IsExported(t.Name()) {
		return "", fmt.Errorf("the type of a handler is exported, %s is not", t)
	}
	return t.Name(), nil
}
