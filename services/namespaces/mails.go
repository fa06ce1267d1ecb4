package namespaces

import (
	"fmt"

	"github.com/micro/platform/internal/mail"
)

// codeMail has the code on a line of its own, to be copied at a click and found
// by programs.
func codeMail(a address, code string) mail.Message {
	return mail.Message{To: a.account, Subject: "Your code for Micro", Text: fmt.Sprintf(`Hello,

this is your code to sign up for Micro:

    %s

It is good for %d minutes. If you did not ask for it, ignore this mail: nothing
happens without the code.
`, code, int(codeLife.Minutes()))}
}

// knownMail goes to the address that signed up, whichever spelling was typed.
func knownMail(owner, namespace string) mail.Message {
	return mail.Message{To: owner, Subject: "You have a namespace on Micro", Text: fmt.Sprintf(`Hello,

somebody, probably you, asked to sign up for Micro with this address. It has a
namespace already: %s. To log in, type

    micro login --username %s

If it was not you, ignore this mail: nothing has changed.
`, namespace, owner)}
}
