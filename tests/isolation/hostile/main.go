// Command hostile is a service that does to its host and its neighbours what a
// hostile tenant would, as far as it is let. The tests of isolation deploy it
// as one and call its endpoints; every one says what came of each try.
package main

import (
	"context"
	"os"
	"time"

	"github.com/micro/platform/framework/logger"
	"github.com/micro/platform/framework/service"
)

// Hostile is the handler.
type Hostile struct{}

// Request is what to try.
type Request struct {
	Targets []string `json:"targets"`
	Count   int64    `json:"count"`
}

// Response is what came of it, by target or by the name of a try.
type Response struct {
	Results map[string]string `json:"results"`
	Count   int64             `json:"count"`
}

// Ping does nothing: it is what the neighbour's clients call.
func (*Hostile) Ping(context.Context, *Request, *Response) error { return nil }

// idle is the argument with which the program does nothing but be there.
const idle = "idle"

func main() {
	if len(os.Args) > 1 && os.Args[1] == idle {
		time.Sleep(time.Minute)
		return
	}
	s := service.New(service.Name("hostile"))
	if err := s.Handle(&Hostile{}); err != nil {
		logger.Fatal(err)
	}
	if err := s.Run(); err != nil {
		logger.Fatal(err)
	}
}
