// Package tests tries the platform as a whole, as people use it: the micro
// program, real databases, real builds and real containers; with all components
// in one process, and with each as a process of its own.
package tests
