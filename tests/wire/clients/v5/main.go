// Command micro5 is the command line of Micro v5.0.0, as its users have it.
package main

import (
	"github.com/micro/micro/v5/cmd"
	_ "github.com/micro/micro/v5/cmd/client"
)

func main() { cmd.Run() }
