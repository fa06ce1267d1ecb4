// Command keeper is a service that uses what the platform keeps: records,
// blobs, settings, events, messages and accounts. Its messages are plain Go
// structs, which is how a service without protos looks.
package main

import (
	"github.com/micro/micro/v3/service"
	"github.com/micro/micro/v3/service/logger"

	"framework/v3/keeper/handler"
)

func main() {
	srv := service.New(service.Name("keeper"))
	events, messages := handler.NewEvents(), handler.NewMessages()
	for _, h := range []interface{}{new(handler.Records), new(handler.Blobs), new(handler.Settings), new(handler.Accounts), handler.NewModels(), events, messages} {
		if err := srv.Handle(h); err != nil {
			logger.Fatal(err)
		}
	}
	if err := srv.Subscribe("news", messages.Take); err != nil {
		logger.Fatal(err)
	}
	go events.Consume()
	if err := srv.Run(); err != nil {
		logger.Fatal(err)
	}
}
