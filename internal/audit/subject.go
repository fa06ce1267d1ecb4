package audit

import (
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/micro/platform/internal/grants"
	"github.com/micro/platform/internal/identity"
)

// untold are the APIs that change something, and are used all day long by
// programs. What keeps a service's data has its own history, or none.
var untold = map[string]bool{
	"broker.Broker":      true,
	"events.Stream":      true,
	"namespaces.Imports": true, // the import itself is told
	"registry.Registry":  true,
	"runtime.Source":     true, // a source does nothing until it is deployed
	"store.BlobStore":    true,
	"store.Store":        true,
}

// told says whether a call is to be written down, and whose log it goes to.
func told(caller identity.Caller, method string, req proto.Message) (namespace string, is bool) {
	service, handler, endpoint := split(method)
	if caller.IsComponent() || handler == "Components" || handler == "Debug" || service == "grpc" {
		return "", false
	}
	if named := requested(req); named != "" && named != caller.Namespace && caller.Operator() {
		return named, true
	}
	changes := !grants.Reads(service, handler+"."+endpoint) && !untold[service+"."+handler]
	return caller.Namespace, changes
}

// split takes "/runtime.Runtime/Create" apart.
func split(method string) (service, handler, endpoint string) {
	path, endpoint, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	service, handler, _ = strings.Cut(path, ".")
	return service, handler, endpoint
}

// requested answers the namespace that a request names, at its top or among its
// options, as the protos of the platform have it.
func requested(req proto.Message) string {
	if req == nil {
		return ""
	}
	m := req.ProtoReflect()
	if ns := named(m); ns != "" {
		return ns
	}
	options := m.Descriptor().Fields().ByName("options")
	if options == nil || options.Message() == nil || options.IsList() || options.IsMap() || !m.Has(options) {
		return ""
	}
	return named(m.Get(options).Message())
}

// named reads the field that names a namespace: the registry calls it a domain,
// the store a database.
func named(m protoreflect.Message) string {
	for _, name := range []protoreflect.Name{"namespace", "domain", "database"} {
		f := m.Descriptor().Fields().ByName(name)
		if f != nil && f.Kind() == protoreflect.StringKind && !f.IsList() && m.Get(f).String() != "" {
			return m.Get(f).String()
		}
	}
	return ""
}

// telling are the fields that say what a call is done to. Everything else may
// be a value or a secret, and is left out.
var telling = map[protoreflect.Name]bool{
	"access": true, "account": true, "action": true, "email": true, "endpoint": true, "group": true, "id": true, "instances": true,
	"key": true, "name": true, "path": true, "plan": true, "priority": true, "reason": true, "replicas": true,
	"resource": true, "revision": true, "role": true, "scope": true, "scopes": true, "service": true, "source": true,
	"subject": true, "topic": true, "type": true, "version": true,
}

// Bounds of what is told of a request.
const (
	maxTargets = 16
	maxValue   = 200 // bytes
	maxDepth   = 3   // messages in each other
)

// targets answers the telling fields of a request.
func targets(req proto.Message) map[string]string {
	out := map[string]string{}
	if req != nil {
		collect(req.ProtoReflect(), "", out, maxDepth)
	}
	return out
}

func collect(m protoreflect.Message, prefix string, out map[string]string, depth int) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := prefix + string(f.Name())
		switch {
		case len(out) >= maxTargets:
			return false
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.StringKind && telling[f.Name()]:
			list := make([]string, 0, v.List().Len())
			for i := range v.List().Len() {
				list = append(list, v.List().Get(i).String())
			}
			out[name] = clip(strings.Join(list, ","))
		case f.IsList():
		case f.Message() != nil:
			if depth > 1 {
				collect(v.Message(), name+".", out, depth-1)
			}
		case telling[f.Name()]:
			if s := scalar(f, v); s != "" {
				out[name] = clip(s)
			}
		}
		return true
	})
}

func scalar(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch f.Kind() {
	case protoreflect.StringKind:
		return v.String()
	case protoreflect.EnumKind:
		if d := f.Enum().Values().ByNumber(v.Enum()); d != nil {
			return string(d.Name())
		}
		return strconv.Itoa(int(v.Enum()))
	case protoreflect.BytesKind:
		return ""
	}
	return v.String()
}

// userinfo is the part of an address that may hold a password.
var userinfo = regexp.MustCompile(`//[^/@\s]*@`)

// clip shortens a text to what is kept, without what may be a password.
func clip(s string) string {
	s = strings.ToValidUTF8(userinfo.ReplaceAllString(s, "//"), "?")
	s = strings.Map(func(r rune) rune {
		if r == 0 {
			return '?' // which Postgres does not keep
		}
		return r
	}, s)
	if len(s) > maxValue {
		s = strings.ToValidUTF8(s[:maxValue], "") + "…"
	}
	return s
}
