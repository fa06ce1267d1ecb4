// What people do for their own account: password, second factor, passkeys,
// accounts elsewhere, logins, API tokens.

import { h, form, button, table, card, ask, notice, when, show } from "./dom.js";
import { call, open, part, renew } from "./api.js";
import { makePasskey, passkeysWork } from "./passkeys.js";
import { leave } from "./signin.js";

const secret = { name: "password", label: "Your password", type: "password", autocomplete: "current-password", required: true };
const code = { name: "code", label: "Code", autocomplete: "one-time-code", required: true, hint: "From your authenticator, or a recovery code." };

export async function page(main, me, again) {
	const parts = [password(me)];
	if (me.role) parts.push(...await person(me, again));
	show(main, ...parts, await tokens(me, again), await logins(again));
}

// person is what accounts of people have, and those that an admin made have not.
async function person(me, again) {
	const [factor, { passkeys = [] }, { links = [] }, { providers = [], console: home }] = await Promise.all([
		call("GET", "/platform/v1/second-factor"), call("GET", "/platform/v1/passkeys"),
		me.enrolled ? call("GET", "/platform/v1/links") : {}, open("GET", "/platform/v1/providers"),
	]);
	return [authenticator(factor, me, again), keys(passkeys, home, me, again), elsewhere(links, providers, again)];
}

function password(me) {
	return card("Password", form([
		{ ...secret, label: "Password as it is" },
		{ name: "fresh", label: "New password", type: "password", autocomplete: "new-password", minlength: 8, required: true, hint: "At least 8 characters. Your other logins end." },
	], "Change", async (v, f) => {
		await call("POST", `/platform/v1/accounts/${part(me.account)}/secret`, { old_secret: v.password, new_secret: v.fresh });
		f.reset();
		notice("The password is changed.");
		await renew();
	}));
}

// recovery shows codes, once.
const recovery = (codes) => codes.length > 0 && ask("Recovery codes", "Keep them where you will find them without this device. Each is good once, and they are not shown again.",
	[h("pre", { class: "codes" }, codes.join("\n"))], "I have kept them", async () => {});

function authenticator(factor, me, again) {
	const needed = factor.required ? ` ${me.namespace} requires a second factor of its members.` : "";
	if (!factor.authenticator) {
		return card("Authenticator", h("p", {}, `An app that shows a new code every 30 seconds.${needed}`), button("Set up an authenticator", () => enrol(me), "quiet"));
	}
	return card("Authenticator", h("p", {}, `On since ${when(factor.since)}. ${factor.recovery_codes ?? 0} recovery codes are left.${needed}`), h("p", { class: "actions" },
		button("New recovery codes", () => ask("New recovery codes", "They take the place of those that you have.", [code], "Go on", async (v) => {
			const { recovery_codes = [] } = await call("POST", "/platform/v1/second-factor/recovery-codes", v);
			setTimeout(() => recovery(recovery_codes).then(again));
		}), "quiet"),
		button("Turn off", () => ask("Turn the authenticator off?", "", [secret, code], "Turn off", async (v) => {
			await call("POST", "/platform/v1/second-factor/remove", v);
			await again();
		}, "danger"), "quiet danger")));
}

async function enrol(me) {
	let made;
	const begun = await ask("Set up an authenticator", "Confirm that it is you.", [secret], "Go on", async (v) => { made = await call("POST", "/platform/v1/second-factor", v); });
	if (!begun) return;
	let codes = [];
	const confirmed = await ask("Set up an authenticator", "Add this to your app, then type the code that it shows.", [
		h("p", {}, h("a", { href: made.url }, "Open in an app on this device")), h("p", {}, "Or type this secret: ", h("code", { class: "secret" }, made.secret.replace(/(.{4})/g, "$1 "))),
		{ ...code, hint: undefined, inputmode: "numeric" },
	], "Turn on", async ({ code }) => { ({ recovery_codes: codes = [] } = await call("POST", "/platform/v1/second-factor/confirm", { code })); });
	if (!confirmed) return;
	await recovery(codes);
	await me.reload(); // with what a second factor allows
}

function keys(passkeys, home, me, again) {
	const works = passkeysWork(home);
	return card("Passkeys",
		table(["Name", "Registered", "Last used", ""], passkeys.map((k) => [k.name, when(k.created), when(k.last_used),
			button("Remove", () => ask(`Remove the passkey ${k.name}?`, "It does not log you in any more.", [secret], "Remove", async (v) => {
				await call("POST", `/platform/v1/passkeys/${part(k.id)}/remove`, v);
				await again();
			}, "danger"), "quiet danger")]), "You have no passkey. With one you log in without a password: by finger, face or PIN."),
		works ? button("Add a passkey", () => register(me), "quiet")
			: h("p", {}, location.origin === home || !home ? "This browser has no passkeys, or the server no name for them." : ["Passkeys belong to ", h("a", { href: home }, home), "."]));
}

async function register(me) {
	let codes = [];
	const added = await ask("Add a passkey", "Confirm that it is you, and give the passkey a name.", [
		{ name: "name", label: "Name", required: true, maxlength: 64, placeholder: "laptop" }, secret], "Add", async ({ name, password }) => {
		const made = await makePasskey(await call("POST", "/platform/v1/passkeys/begin", { password }));
		({ recovery_codes: codes = [] } = await call("POST", "/platform/v1/passkeys", { ...made, name }));
	});
	if (!added) return;
	await recovery(codes);
	await me.reload();
}

function elsewhere(links, providers, again) {
	if (!links.length && !providers.length) return null;
	return card("Accounts elsewhere",
		table(["Where", "Address", "Linked", "Last used", ""], links.map((l) => [l.title, l.email, when(l.created), when(l.last_used),
			button("Unlink", () => ask(`Unlink ${l.title}?`, `${l.email} does not sign you in any more.`, [], "Unlink", async () => {
				await call("DELETE", `/platform/v1/links/${part(l.id)}`);
				await again();
			}, "danger"), "quiet danger")]), "None is linked."),
		h("p", { class: "actions" }, providers.map((p) => button(`Link ${p.title}`, () => ask(`Link ${p.title}`, `${p.title} will sign you in.`, [secret], "Go on",
			({ password }) => leave(p.id, call, "/platform/v1/links", { password })), "quiet"))));
}

async function tokens(me, again) {
	const { tokens: all = [] } = await call("GET", "/platform/v1/api-tokens").catch(() => ({}));
	return card("API tokens", h("p", {}, "For programs, in the place of your login: ", h("code", {}, "MICRO_TOKEN"), "."),
		table(["Name", "Account", "May", "Ends", "Last used", ""], all.map((t) => [t.name, t.account, (t.grants ?? []).join(", "), Number(t.expires ?? 0) ? when(t.expires) : "never", when(t.last_used),
			button("Revoke", () => ask(`Revoke ${t.name}?`, "What uses it is refused within a second.", [], "Revoke", async () => {
				await call("DELETE", `/platform/v1/api-tokens/${part(t.id)}`);
				await again();
			}, "danger"), "quiet danger")]), "There is none."),
		form([
			{ name: "name", label: "Name", required: true, placeholder: "ci" },
			{ name: "grants", label: "Grants", required: true, placeholder: "runtime:*:write store:*:write", hint: "service:endpoint:read or write, with spaces between them." },
			{ name: "days", label: "Good for", options: [{ value: "30", label: "30 days" }, { value: "90", label: "90 days" }, { value: "365", label: "a year" }], value: "90" },
		], "Make a token", async (v) => {
			const made = await call("POST", "/platform/v1/api-tokens", { name: v.name, grants: v.grants.trim().split(/\s+/), expires_in: String(Number(v.days) * 86400) });
			await ask("The token", "It is shown this once.", [h("pre", { class: "codes" }, made.secret)], "I have kept it", async () => {});
			await again();
		}));
}

async function logins(again) {
	const { sessions = [] } = await call("GET", "/platform/v1/sessions").catch(() => ({}));
	return card("Logins", table(["Since", "Last renewed", "Ends", ""], sessions.map((s) => [when(s.created), when(s.renewed), when(s.expires),
		s.current ? "this one" : button("End", async () => { await call("DELETE", `/platform/v1/sessions/${part(s.id)}`); await again(); }, "quiet danger")]), "There is none."));
}
