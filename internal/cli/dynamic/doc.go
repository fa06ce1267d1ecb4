// Package dynamic makes commands out of the endpoints of services: it finds the
// endpoint that arguments mean, turns flags into the JSON of the request, and
// writes the help. What it knows of a service is its entry in the registry.
package dynamic
