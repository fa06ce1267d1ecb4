// Command relay is a service that calls another.
package main

import (
	"github.com/micro/micro/v3/service"
	"github.com/micro/micro/v3/service/logger"

	numbers "framework/v3/numbers/proto"
	"framework/v3/relay/handler"
	pb "framework/v3/relay/proto"
)

func main() {
	srv := service.New(service.Name("relay"))
	relay := &handler.Relay{Numbers: numbers.NewNumbersService("numbers", srv.Client())}
	if err := pb.RegisterRelayHandler(srv.Server(), relay); err != nil {
		logger.Fatal(err)
	}
	if err := srv.Run(); err != nil {
		logger.Fatal(err)
	}
}
