// Package console serves the web console.
//
// It owns no state and no table, and calls nothing: the pages are a client of
// the public REST API like any other, from the person's browser.
package console
