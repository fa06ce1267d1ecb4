// Package builder turns sources into images.
//
// What it owns: builds, their logs, and on Docker the build containers, the
// caches of the namespaces and the images until they are forgotten.
//
// Who calls it: the runtime. Only the platform's components may.
//
// What it calls: git hosts, module proxies and Docker; no component but auth,
// for the keys that tokens are verified with. It reads uploads from the bucket.
//
// Which tables: builder.builds, builder.logs, and River's. A build is a row that
// one worker at a time has, shown by its heartbeat. When the heartbeat stops,
// the build is queued again, for as many attempts as are allowed.
package builder
