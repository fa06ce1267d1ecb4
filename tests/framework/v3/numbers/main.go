// Command numbers is a service with unary and streaming endpoints.
package main

import (
	"github.com/micro/micro/v3/service"
	"github.com/micro/micro/v3/service/logger"

	"framework/v3/numbers/handler"
	pb "framework/v3/numbers/proto"
)

func main() {
	srv := service.New(service.Name("numbers"), service.Version("latest"))
	if err := pb.RegisterNumbersHandler(srv.Server(), new(handler.Numbers)); err != nil {
		logger.Fatal(err)
	}
	if err := srv.Run(); err != nil {
		logger.Fatal(err)
	}
}
