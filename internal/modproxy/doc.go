// Package modproxy makes the framework's module available to Go although it is
// published nowhere. The sources are in this binary; they are packed at run time
// into a module of the same path as the platform's, with nothing in it but
// framework/ and proto/, under a version that names its content.
//
// Go finds it in one of three ways: Seed puts it into a person's module cache,
// the handler speaks the protocol of module proxies to everybody else, and
// Align makes a project's go.mod and go.sum agree with it.
// docs/framework-module.md says how these fit together.
package modproxy
