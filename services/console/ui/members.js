// The members of the namespace, and who is invited.

import { h, form, button, table, card, ask, notice, when, show } from "./dom.js";
import { call, part } from "./api.js";

const roles = ["owner", "admin", "developer", "viewer", "billing"];
const given = (me) => (me.role === "owner" ? roles : roles.slice(1)); // only owners make owners
const secret = { name: "password", label: "Your password", type: "password", autocomplete: "current-password", required: true };

export async function page(main, me, again) {
	const { members = [] } = await call("GET", "/platform/v1/members");
	const manages = me.may("manage");
	const parts = [card("Members", table(["Account", "Role", "Since", ""], members.map((m) => row(m, me, again)), "Nobody is a member of this namespace."))];
	if (manages) {
		const { invites = [] } = await call("GET", "/platform/v1/invites");
		parts.push(card("Invitations", table(["Address", "Role", "Invited by", "Good until", ""], invites.map((i) => [
			i.email, i.role, i.invited_by, when(i.expires), h("span", { class: "actions" },
				button("Send again", async () => { await call("POST", `/platform/v1/invites/${part(i.id)}/resend`, {}); notice(`Sent to ${i.email}; the code before is void.`); await again(); }, "quiet"),
				button("Revoke", async () => { await call("DELETE", `/platform/v1/invites/${part(i.id)}`); await again(); }, "quiet danger")),
		]), "Nobody is invited."),
		form([{ name: "email", label: "Email address", type: "email", required: true }, { name: "role", label: "Role", options: given(me), value: "developer" }], "Invite", async (v) => {
			await call("POST", "/platform/v1/invites", v);
			notice(`An invitation was sent to ${v.email}.`);
			await again();
		})));
	}
	if (me.role === "owner") parts.push(await owner(members, me, again));
	if (me.role) {
		parts.push(card("Leave", h("p", {}, `You will not see ${me.namespace} any more, and your logins and API tokens here end.`),
			button(`Leave ${me.namespace}`, () => ask("Leave?", `You stop being a member of ${me.namespace}.`, [], "Leave", async () => {
				await call("POST", `/platform/v1/namespaces/${part(me.namespace)}/leave`, {});
				await me.elsewhere();
			}, "danger"), "danger quiet")));
	}
	show(main, ...parts);
}

function row(m, me, again) {
	const changes = me.may("manage") && m.account !== me.account && (me.role === "owner" || m.role !== "owner");
	if (!changes) return [m.account === me.account ? `${m.account} (you)` : m.account, m.role, when(m.since), ""];
	const problem = h("span", { class: "error", role: "alert" });
	const choice = h("select", { "aria-label": `Role of ${m.account}` }, given(me).map((r) => h("option", { selected: r === m.role }, r)));
	choice.addEventListener("change", async () => {
		problem.textContent = "";
		try {
			await call("PUT", `/platform/v1/members/${part(m.account)}`, { role: choice.value });
			notice(`${m.account} is ${choice.value} now.`);
		} catch (err) {
			choice.value = m.role;
			problem.textContent = err.message;
		}
	});
	return [m.account, h("span", {}, choice, problem), when(m.since), button("Remove", () => ask(`Remove ${m.account}?`, "Their logins and API tokens here end.", [], "Remove",
		async () => { await call("DELETE", `/platform/v1/members/${part(m.account)}`); await again(); }, "danger"), "quiet danger")];
}

// owner is what only owners do.
async function owner(members, me, again) {
	const { required = false } = await call("GET", "/platform/v1/second-factor").catch(() => ({}));
	const others = members.filter((m) => m.account !== me.account).map((m) => m.account);
	return card("For owners",
		h("p", {}, required ? "Every member needs a second factor." : "Members may do without a second factor."),
		button(required ? "Do not require a second factor" : "Require a second factor", () => ask("Second factor", required
			? "Members log in with their password alone." : "Members without one can do nothing but set one up.", [], "Go on", async () => {
			await call("PUT", `/platform/v1/namespaces/${part(me.namespace)}/settings`, { require_second_factor: !required });
			await again();
		}), "quiet"),
		others.length > 0 && [h("h3", {}, "Transfer the namespace"), h("p", {}, "Another member becomes an owner, and you an admin."),
			form([{ name: "account", label: "New owner", options: others }, secret], "Transfer", async (v) => {
				await call("POST", `/platform/v1/namespaces/${part(me.namespace)}/transfer`, v);
				await me.reload();
			}, { kind: "danger" })],
		h("h3", {}, "Delete the namespace"), h("p", {}, "Its services stop at once. Any owner can undo it for a while; then everything in it is erased."),
		button(`Delete ${me.namespace}`, () => ask(`Delete ${me.namespace}?`, `Type its name, ${me.namespace}, once more.`, [{ name: "confirm", label: "Name", required: true, autocomplete: "off" }], "Delete", async ({ confirm }) => {
			await call("DELETE", `/platform/v1/namespaces/${part(me.namespace)}?${new URLSearchParams({ confirm })}`);
			await me.reload();
		}, "danger"), "danger quiet"));
}
