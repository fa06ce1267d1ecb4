// Package config keeps what the command line remembers between two commands:
// settings, environments and logins. The files and their format are those of
// every Micro command line, so that old and new ones share a login.
package config
