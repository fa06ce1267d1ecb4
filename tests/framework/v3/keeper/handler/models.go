package handler

import (
	"context"

	"github.com/micro/micro/v3/service/model"
)

// Link is an object that the model keeps, with an index for each owner, the
// newest first, and one for all by name.
type Link struct {
	ID      string `json:"id"`
	Owner   string `json:"owner"`
	Name    string `json:"name"`
	Created int64  `json:"created"`
}

// Links are objects of the model.
type Links struct {
	Links []*Link `json:"links"`
}

// Models uses the model, which keeps its objects and indexes as records.
type Models struct {
	links  model.Model
	owners model.Index
	names  model.Index
}

// NewModels makes the handler.
func NewModels() *Models {
	owners := model.ByEquality("owner")
	owners.Order.Type = model.OrderTypeDesc
	owners.Order.FieldName = "created"
	names := model.ByEquality("name")
	names.Order.Type = model.OrderTypeDesc
	return &Models{
		links:  model.New(Link{}, &model.Options{Key: "ID", Indexes: []model.Index{owners, names}}),
		owners: owners,
		names:  names,
	}
}

// Create keeps a link, or the new state of one.
func (h *Models) Create(ctx context.Context, req *Link, rsp *Empty) error {
	return h.links.Create(req)
}

// Mine answers the links of an owner, the newest first.
func (h *Models) Mine(ctx context.Context, req *Link, rsp *Links) error {
	return h.links.Read(h.owners.ToQuery(req.Owner), &rsp.Links)
}

// Named answers the links with a name.
func (h *Models) Named(ctx context.Context, req *Link, rsp *Links) error {
	return h.links.Read(h.names.ToQuery(req.Name), &rsp.Links)
}

// Get answers one link.
func (h *Models) Get(ctx context.Context, req *Link, rsp *Link) error {
	return h.links.Read(model.QueryEquals("ID", req.ID), rsp)
}

// Delete removes a link.
func (h *Models) Delete(ctx context.Context, req *Link, rsp *Empty) error {
	return h.links.Delete(model.QueryEquals("ID", req.ID))
}
