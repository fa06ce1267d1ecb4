// Package isolation deploys a hostile service (hostile/) as a real tenant of a
// real platform and lets it try, from inside its container, to reach, to
// escape and to exhaust what is not its own, while a neighbour is being called.
package isolation
