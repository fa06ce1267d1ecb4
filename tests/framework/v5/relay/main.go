// Command relay is a service that calls another.
package main

import (
	"github.com/micro/micro/v5/service"
	"github.com/micro/micro/v5/service/logger"

	numbers "framework/v5/numbers/proto"
	"framework/v5/relay/handler"
	pb "framework/v5/relay/proto"
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
