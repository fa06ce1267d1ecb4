// Command micro3 is the command line of Micro v3.10.1, as its users have it.
package main

import (
	_ "github.com/micro/micro/v3/client/cli"
	"github.com/micro/micro/v3/cmd"
)

func main() { cmd.Run() }
