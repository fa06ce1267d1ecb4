// Package server turns the methods of a handler into RPCs. Most services never
// name it: service.New has a server, and Handle adds to it.
//
// Exported methods of these forms are RPCs, called Handler.Method after the
// handler's type; others are left alone:
//
//	func (h *Notes) Read(ctx context.Context, req *pb.ReadRequest, rsp *pb.ReadResponse) error
//	func (h *Notes) List(ctx context.Context, req *pb.ListRequest, stream pb.Notes_ListStream) error
//	func (h *Notes) Sync(ctx context.Context, stream pb.Notes_SyncStream) error
//
// Messages may be plain structs too; then callers must speak JSON.
package server
