package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	configpb "github.com/micro/platform/proto/config"
)

// put puts a leaf into a document.
func put(root map[string]any, path string, text json.RawMessage) error {
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		next, ok := root[key].(map[string]any)
		if !ok {
			if root[key] != nil {
				return fmt.Errorf("the archive is damaged: config %.100q is below a value", path)
			}
			next = map[string]any{}
			root[key] = next
		}
		root = next
	}
	root[keys[len(keys)-1]] = text
	return nil
}

// get answers what a document has at a path.
func get(root any, path string) (any, bool) {
	for key := range strings.SplitSeq(path, ".") {
		node, ok := root.(map[string]any)
		if !ok {
			return nil, false
		}
		if root, ok = node[key]; !ok {
			return nil, false
		}
	}
	return root, true
}

// config is the document that the namespace has, with secrets hidden.
func (i *Import) config(ctx context.Context) (any, error) {
	rsp, err := configpb.NewConfigClient(i.conn).Get(ctx, &configpb.GetRequest{Namespace: i.o.Namespace})
	if errors.Code(err) == codes.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader([]byte(rsp.GetValue().GetData())))
	d.UseNumber()
	var have any
	return have, d.Decode(&have)
}

// restoreConfig writes the config, its secrets after the rest.
func (i *Import) restoreConfig(ctx context.Context) error {
	opened := map[string]json.RawMessage{}
	for _, v := range i.a.values {
		if v.Sealed == nil || i.sealer == nil {
			if v.Secret {
				i.o.Say(fmt.Sprintf("config %s is a secret and was left out: set it with \"micro config set --secret %s VALUE\"", v.Path, v.Path))
			}
			continue
		}
		text, err := i.sealer.Open(v.Place(), v.Sealed)
		if err != nil {
			return err
		}
		opened[v.Path] = json.RawMessage(text)
	}
	for _, secrets := range []bool{false, true} {
		d, err := document(i.a.values, opened, secrets)
		if err != nil {
			return err
		}
		if len(d) == 0 {
			continue
		}
		text, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("encode the config: %w", err)
		}
		err = i.retry(ctx, func() error {
			_, err := configpb.NewConfigClient(i.conn).Set(ctx, &configpb.SetRequest{
				Namespace: i.o.Namespace, Value: &configpb.Value{Data: string(text)}, Options: &configpb.Options{Secret: secrets},
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
