// Package settings turns the environment into one Options struct per
// component. A name is written once, as a tag:
//
//	Port int `env:"PORT" default:"8080" help:"where it listens"`
//
// and is MICRO_<COMPONENT>_PORT outside. Everything that is wrong is reported
// at once, and a MICRO_ name that nobody knows stops the start.
package settings
