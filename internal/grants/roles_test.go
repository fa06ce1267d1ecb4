package grants

import "testing"

// A developer deploys code and chooses what it does: the code's account may do
// nothing that the developer may not, but say where it runs.
func TestDeployedIsNoMoreThanADeveloper(t *testing.T) {
	t.Parallel()
	for name := range platform {
		service, endpoint, _ := cutLast(name, " ")
		if Deployed.May(service, endpoint) && !Developer.May(service, endpoint) {
			t.Errorf("a deployed revision may call %s, a developer may not", name)
		}
	}
	for _, tt := range []struct {
		service, endpoint   string
		deployed, developer bool
	}{
		{"notes", "Notes.Delete", true, true},
		{"store", "Store.Write", true, true},
		{"config", "Config.Set", true, true},
		{"events", "Stream.Publish", true, true},
		{"broker", "Broker.Publish", true, true},
		{"runtime", "Runtime.Create", true, true},
		{"registry", "Registry.GetService", true, true},
		{"registry", "Registry.Register", true, false},
		{"registry", "Registry.Deregister", true, false},
		{"auth", "Auth.Token", true, true},
		{"auth", "Auth.Inspect", true, true},
		{"auth", "Rules.List", true, true},
		{"auth", "Rules.Create", false, false},
		{"auth", "Rules.Delete", false, false},
		{"auth", "Auth.Generate", true, false}, // of people who may nothing
		{"auth", "Accounts.List", false, false},
		{"auth", "Accounts.Delete", false, false},
		{"auth", "Accounts.ChangeSecret", false, true}, // a person's own
		{"auth", "Tokens.Create", false, true},
		{"auth", "Tokens.List", false, true},
		{"auth", "Sessions.Revoke", false, true},
		{"namespaces", "Invites.Create", false, false},
		{"namespaces", "Namespaces.Create", false, true},
		{"namespaces", "Namespaces.Delete", false, false},
		{"usage", "Budgets.Set", false, false},
		{"audit", "Audit.List", false, false},
	} {
		if got := Deployed.May(tt.service, tt.endpoint); got != tt.deployed {
			t.Errorf("a deployed revision may call %s:%s: %v, want %v", tt.service, tt.endpoint, got, tt.deployed)
		}
		if got := Developer.May(tt.service, tt.endpoint); got != tt.developer {
			t.Errorf("a developer may call %s:%s: %v, want %v", tt.service, tt.endpoint, got, tt.developer)
		}
	}
}
