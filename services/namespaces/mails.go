package namespaces

import (
	"fmt"

	"github.com/micro/platform/internal/mail"
	"github.com/micro/platform/internal/mailbox"
)

// codeMail has the code on a line of its own, to be copied at a click and found
// by programs.
func codeMail(a mailbox.Address, code string) mail.Message {
	return mail.Message{To: a.Account, Subject: "Your code for Micro", Text: fmt.Sprintf(`Hello,

this is your code to sign up for Micro:

    %s

It is good for %d minutes. If you did not ask for it, ignore this mail: nothing
happens without the code.
`, code, int(codeLife.Minutes()))}
}

// knownMail goes to the address that signed up, whichever spelling was typed.
func knownMail(owner, namespace string) mail.Message {
	return mail.Message{To: owner, Subject: "You have a namespace on Micro", Text: fmt.Sprintf(`Hello,

somebody, probably you, asked to sign up for Micro with this address. It has an
account already, in namespace %s. To log in, type

    micro login --username %s

and for another namespace "micro namespace create". If it was not you, ignore this mail: nothing has changed.
`, namespace, owner)}
}

// inviteMail goes to whom somebody wants as a member.
func inviteMail(i invite, code string) mail.Message {
	return mail.Message{To: i.Address, Subject: "You are invited to a namespace on Micro", Text: fmt.Sprintf(`Hello,

%s invites you to namespace %s of Micro, as %s. To accept, type

    micro namespace accept %s

If you have an account on Micro already, log in first or enter its password. If
not, you choose one. The invitation is good for %d days. If you do not know who
sent it, ignore this mail.
`, i.InvitedBy, i.Namespace, i.Role, code, int(inviteLife.Hours()/24))}
}

// deletedMail goes to every owner when somebody deletes a namespace.
func deletedMail(owner string, d deletion) mail.Message {
	return mail.Message{To: owner, Subject: "Your namespace " + d.Namespace + " on Micro was deleted", Text: fmt.Sprintf(`Hello,

%s deleted namespace %s of Micro, which you own. Its services are
stopped, and calls are not taken. Nothing is lost yet: until %s
any owner can undo it:

    micro namespace undelete %s

After that all of it is erased, for good. Until then you can also export it.
`, who(d), d.Namespace, d.EraseAt.UTC().Format(minutes), d.Namespace)}
}

// warningMail goes to every owner when there is little time left.
func warningMail(owner string, d deletion) mail.Message {
	return mail.Message{To: owner, Subject: "Your namespace " + d.Namespace + " on Micro will be erased soon", Text: fmt.Sprintf(`Hello,

%s deleted namespace %s of Micro, which you own. At
%s all of it is erased, for good. To keep it, type

    micro namespace undelete %s
`, who(d), d.Namespace, d.EraseAt.UTC().Format(minutes), d.Namespace)}
}

// minutes is how mails give a time.
const minutes = "2006-01-02 15:04 MST"

func who(d deletion) string {
	if d.Operator {
		return "An operator of the server"
	}
	return d.Account
}
