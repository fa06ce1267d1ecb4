package export

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/archive"
	configpb "github.com/micro/platform/proto/config"
)

// settings writes the leaves of the config, by path.
func (e *exporter) settings(ctx context.Context) error {
	if err := e.begin(archive.Config, ""); err != nil {
		return err
	}
	shown, open, err := e.documents(ctx)
	if err != nil || shown == nil {
		return err
	}
	return e.leaves("", shown, open)
}

// attempts is how often a document is read again that has changed between two
// readings.
const attempts = 10

// documents answers the config with its secrets hidden and with them shown, of
// one version; nil if nothing was ever set.
func (e *exporter) documents(ctx context.Context) (shown, open any, err error) {
	for range attempts {
		hidden, err := e.Config.Get(ctx, &configpb.GetRequest{Namespace: e.Namespace})
		if none(err) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		all, err := e.Config.Get(ctx, &configpb.GetRequest{Namespace: e.Namespace, Options: &configpb.Options{Secret: true}})
		if err != nil {
			return nil, nil, err
		}
		if hidden.GetVersion() != all.GetVersion() {
			continue
		}
		if shown, err = decode(hidden.GetValue().GetData()); err != nil {
			return nil, nil, err
		}
		open, err = decode(all.GetValue().GetData())
		return shown, open, err
	}
	return nil, nil, errors.New(codes.Aborted, "the config changes all the time, try again")
}

// decode keeps numbers as they are written.
func decode(data string) (any, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(data)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("decode config: %w", err)
	}
	return v, nil
}

// hidden is what a secret looks like.
const hidden = "[secret]"

// leaves writes what is below a path. What is hidden in one document and not in
// the other is a secret.
func (e *exporter) leaves(path string, shown, open any) error {
	node, is := shown.(map[string]any)
	if is && (path == "" || len(node) > 0) {
		other, _ := open.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(node)) {
			below := key
			if path != "" {
				below = path + "." + key
			}
			if err := e.leaves(below, node[key], other[key]); err != nil {
				return err
			}
		}
		return nil
	}
	text, err := json.Marshal(open)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	v := archive.Value{Path: path, Secret: shown == hidden && open != hidden}
	switch {
	case !v.Secret:
		v.Value = text
	case e.sealer != nil:
		if v.Sealed, err = e.sealer.Seal(v.Place(), string(text)); err != nil {
			return err
		}
	}
	return e.add(v)
}

func (e *exporter) configHistory(ctx context.Context) error {
	if err := e.begin(archive.ConfigHistory, ""); err != nil {
		return err
	}
	req := &configpb.HistoryRequest{Namespace: e.Namespace}
	for {
		rsp, err := e.Config.History(ctx, req)
		if err != nil && !none(err) {
			return err
		}
		for _, v := range rsp.GetVersions() {
			if err := e.add(archive.Change{
				Version: v.GetVersion(), Action: v.GetAction(), Path: v.GetPath(), Account: v.GetAccount(), Created: seconds(v.GetCreated()), Restored: v.GetRestored(),
			}); err != nil {
				return err
			}
			req.Before = v.GetVersion()
		}
		if len(rsp.GetVersions()) == 0 || req.Before <= 1 {
			return nil
		}
	}
}
