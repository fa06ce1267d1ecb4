package identity

// Reasons of refusals, for programs. Edges send them as Micro-Reason; they
// never change.
const (
	TokenMissing         = "token_missing"         // no token came with the call
	TokenInvalid         = "token_invalid"         // it is damaged, or not from this server
	TokenExpired         = "token_expired"         // it was good once
	TokenRevoked         = "token_revoked"         // it was called back
	TokenScope           = "token_scope"           // the API token does not grant the call
	HeaderInvalid        = "header_invalid"        // the Authorization header has no Bearer token
	WrongNamespace       = "wrong_namespace"       // the account belongs to another namespace
	RoleMissing          = "role_missing"          // the account is no admin
	FactorMissing        = "factor_missing"        // the namespace wants a second factor, and there is none
	CodeRequired         = "code_required"         // logging in takes a code of the second factor
	LoginRequired        = "login_required"        // an API token is not enough
	RuleDenied           = "rule_denied"           // a rule denies it, or none grants it
	PlatformOnly         = "platform_only"         // the method is not for people
	Suspended            = "suspended"             // the namespace is, by an operator
	Deleted              = "deleted"               // the namespace is, by an owner
	AuthorizationPending = "authorization_pending" // nobody has approved the terminal yet
)
