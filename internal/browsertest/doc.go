// Package browsertest drives a headless Chromium by its DevTools protocol: the few
// steps that tests of the console need.
package browsertest
