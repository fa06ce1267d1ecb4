package grants

// verbs begin the name of a tenant's method that is taken to change nothing.
var verbs = []string{"Count", "Describe", "Find", "Get", "List", "Query", "Read", "Search", "Show", "Watch"}

// platform says of the platform's own methods which only read and which are
// open to everybody. One that is not in here writes, so that a new one is
// closed to tokens that read until somebody has thought about it.
var platform = map[string]kind{
	"auth auth.inspect":              open,
	"auth auth.logout":               open,
	"auth auth.token":                open,
	"auth keys.list":                 open,
	"auth passwords.beginreset":      open,
	"auth passwords.reset":           open,
	"auth accounts.list":             read,
	"auth rules.explain":             read,
	"auth rules.list":                read,
	"auth sessions.list":             read,
	"auth tokens.list":               read,
	"broker broker.subscribe":        read,
	"config config.get":              read,
	"config config.history":          read,
	"config config.read":             read,
	"config config.watch":            read,
	"events groups.list":             read,
	"events store.read":              read,
	"events topics.list":             read,
	"namespaces namespaces.get":      read,
	"namespaces plans.limits":        read,
	"namespaces plans.list":          read,
	"namespaces signup.begin":        open,
	"namespaces signup.complete":     open,
	"namespaces signup.verify":       open,
	"network network.graph":          read,
	"network network.nodes":          read,
	"network network.routes":         read,
	"network network.services":       read,
	"network network.status":         read,
	"registry registry.getservice":   read,
	"registry registry.listservices": read,
	"registry registry.watch":        read,
	"runtime build.read":             read,
	"runtime runtime.logs":           read,
	"runtime runtime.read":           read,
	"runtime runtime.watch":          read,
	"store blobstore.list":           read,
	"store blobstore.read":           read,
	"store store.databases":          read,
	"store store.list":               read,
	"store store.read":               read,
	"store store.tables":             read,
	"store store.usage":              read,
}
