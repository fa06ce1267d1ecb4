// Package dockerhost knows how this process and the containers of the Docker
// host beside it reach each other.
package dockerhost
