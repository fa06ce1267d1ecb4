// Everything before there is a login: passwords, codes, passkeys, accounts
// elsewhere, signing up, invitations.

import { h, form, button, card, notice, show } from "./dom.js";
import { open, call, keep, loggedIn, text } from "./api.js";
import { passkeysWork, answerPasskey } from "./passkeys.js";

const word = (name, label, autocomplete, rest = {}) => ({ name, label, type: "password", autocomplete, required: true, ...rest });
const email = { name: "id", label: "Email address or account", autocomplete: "username webauthn", required: true, autofocus: true, spellcheck: "false", autocapitalize: "none" };
const codeField = { name: "code", label: "Code", autocomplete: "one-time-code", required: true, autofocus: true, hint: "From your authenticator, or a recovery code." };
const fresh = word("fresh", "New password", "new-password", { minlength: 8, hint: "At least 8 characters." });

// page shows the ways to log in. done is called once there is a login.
export async function page(main, done) {
	const { providers = [], console: home } = await open("GET", "/platform/v1/providers");
	const ways = h("div", { class: "ways" },
		passkeysWork(home) && button("Use a passkey", async () => { keep((await open("POST", "/platform/v1/passkeys/login", await answerPasskey())).token); done(); }, "wide quiet"),
		providers.map((p) => button(`Continue with ${p.title}`, () => leave(p.id, open, "/platform/v1/providers/" + p.id + "/begin", {}), "wide quiet")));
	show(main, h("div", { class: "narrow" },
		card("Log in",
			form([email, word("secret", "Password", "current-password")], "Log in", (v) => password(main, v, done, home), { kind: "tall" }),
			ways.childElementCount > 0 && [h("p", { class: "or" }, "or"), ways]),
		h("p", { class: "links" }, h("a", { href: "#signup" }, "Sign up"), h("a", { href: "#forgot" }, "Forgot your password?"), h("a", { href: "#accept" }, "Accept an invitation"))));
}

async function password(main, { id, secret }, done, home) {
	try {
		keep((await open("POST", "/platform/v1/tokens", { id, secret })).token);
	} catch (err) {
		if (err.reason !== "code_required") throw err;
		return factor(main, (extra) => open("POST", "/platform/v1/tokens", { id, secret, ...extra }), done, home);
	}
	done();
}

// factor asks for the second factor, and tries with it.
function factor(main, attempt, done, home) {
	const go = async (extra) => { keep((await attempt(extra)).token); done(); };
	show(main, h("div", { class: "narrow" }, card("Second factor",
		form([codeField], "Log in", ({ code }) => go({ code }), { kind: "tall" }),
		passkeysWork(home) && [h("p", { class: "or" }, "or"), button("Use a passkey", async () => go({ passkey: await answerPasskey() }), "wide quiet")])));
	main.querySelector("input").focus();
}

const base64url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

// leave sends the browser to a provider. Only this tab can go on with what comes
// back: it keeps the verifier.
export async function leave(provider, ask, path, more) {
	const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
	const challenge = base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
	const { url } = await ask("POST", path, { provider, challenge, ...more });
	sessionStorage.setItem("signin", JSON.stringify({ verifier, link: loggedIn() }));
	location.assign(url);
}

// returned goes on with what a provider sent the browser back with, if it did.
export async function returned(main, done) {
	if (location.pathname !== "/signin") return false;
	const q = new URLSearchParams(location.search);
	const left = JSON.parse(sessionStorage.getItem("signin") ?? "null");
	sessionStorage.removeItem("signin");
	history.replaceState(null, "", "/"); // the code is nobody else's business
	const back = { state: q.get("state"), code: q.get("code"), verifier: left?.verifier };
	try {
		if (!left || !back.code) throw new Error(q.get("error_description") || "Signing in was not finished, or was begun in another tab. Begin again.");
		if (left.link) {
			await call("POST", "/platform/v1/links/complete", back);
			notice("Linked.");
			location.hash = "#security";
			done();
		} else {
			const rsp = await open("POST", "/platform/v1/sign-in/complete", back);
			await goOn(main, rsp, back.verifier, done);
		}
	} catch (err) {
		location.hash = left?.link ? "#security" : "";
		await page(main, done);
		main.firstChild.prepend(h("p", { class: "error", role: "alert" }, err.message));
	}
	return true;
}

// goOn does what a ticket wants.
async function goOn(main, rsp, verifier, done) {
	const { token, ticket, wants = [], email, title } = rsp;
	if (token) { keep(token); return done(); }
	if (wants.includes("signup")) return name(main, { email, title }, { ticket, verifier }, done);
	const redeem = (extra) => open("POST", "/platform/v1/sign-in/redeem", { ticket, verifier, ...extra });
	if (!wants.includes("password")) return factor(main, redeem, done, location.origin);
	const fields = [word("password", "Password", "current-password", { autofocus: true }), wants.includes("code") && codeField].filter(Boolean);
	show(main, h("div", { class: "narrow" }, card(`Link ${title}`,
		h("p", {}, `${email} has an account here. Confirm with its password, once, that ${title} may sign you in.`),
		form(fields, "Link and log in", async (v) => { keep((await redeem(v)).token); done(); }, { kind: "tall" }))));
}

// name asks for what a namespace needs, of somebody whose address is known.
function name(main, { email, title, proposal }, proof, done) {
	const elsewhere = Boolean(proof.ticket);
	const secret = word("password", elsewhere ? "Password (may be left out)" : "Password", "new-password",
		{ minlength: 8, required: !elsewhere, hint: elsewhere ? `You sign in with ${title}. The command line is logged in from the browser.` : "At least 8 characters." });
	show(main, h("div", { class: "narrow" }, card("Make your namespace",
		h("p", {}, `For ${email}. Your services will run in it.`),
		form([{ name: "namespace", label: "Name", value: proposal ?? "", minlength: 3, maxlength: 31, pattern: "[a-z][a-z0-9\\-]*[a-z0-9]", autofocus: true, required: !elsewhere,
			hint: "Lower-case letters, digits and hyphens." }, secret], "Sign up", async (v) => {
			const made = await open("POST", "/platform/v1/signup/complete", { ...proof, ...v, email: elsewhere ? undefined : email });
			if (elsewhere) return goOn(main, await open("POST", "/platform/v1/sign-in/redeem", proof), proof.verifier, done);
			keep((await open("POST", "/platform/v1/tokens", { id: made.account, secret: v.password, options: { namespace: made.namespace } })).token);
			done();
		}, { kind: "tall" }))));
}

export async function signup(main, done) {
	const { providers = [] } = await open("GET", "/platform/v1/providers");
	show(main, h("div", { class: "narrow" }, card("Sign up",
		form([{ ...email, label: "Email address", type: "email", hint: "A code is sent to it." }], "Go on", async ({ id }) => {
			await open("POST", "/platform/v1/signup", { email: id });
			show(main, h("div", { class: "narrow" }, card("Sign up",
				h("p", {}, `If ${id} is new here, a code was sent to it. It is good for ten minutes.`),
				form([{ ...codeField, hint: undefined }], "Go on", async ({ code }) => {
					const { proposal } = await open("POST", "/platform/v1/signup/verify", { email: id, code });
					name(main, { email: id, proposal }, { code }, done);
				}, { kind: "tall" }))));
		}, { kind: "tall" }),
		providers.length > 0 && [h("p", { class: "or" }, "or"), h("div", { class: "ways" },
			providers.map((p) => button(`Continue with ${p.title}`, () => leave(p.id, open, "/platform/v1/providers/" + p.id + "/begin", {}), "wide quiet")))]),
	h("p", { class: "links" }, h("a", { href: "#services" }, "Log in"))));
}

export async function forgot(main, done) {
	show(main, h("div", { class: "narrow" }, card("Forgot your password?",
		form([{ ...email, type: "email", label: "Email address" }], "Send a code", async ({ id }) => {
			await open("POST", "/platform/v1/password-resets", { id });
			show(main, h("div", { class: "narrow" }, card("A new password",
				h("p", {}, `If ${id} is an account, a code was sent to it.`),
				form([{ ...codeField, hint: undefined }, fresh], "Change the password", async (v) => {
					await open("POST", "/platform/v1/password-resets/complete", { id, code: v.code, new_secret: v.fresh });
					notice("The password is changed: log in with it.");
					location.hash = "";
					await page(main, done);
				}, { kind: "tall" }))));
		}, { kind: "tall" })),
	h("p", { class: "links" }, h("a", { href: "#services" }, "Log in"))));
}

// accept joins a namespace, with a login or without.
export async function accept(main, done) {
	const fields = [{ name: "code", label: "Code of the invitation", required: true, autofocus: true, autocomplete: "off", spellcheck: "false" }];
	fields.push(word("password", loggedIn() ? "Password (not needed if the invitation is for you)" : "Password", "current-password",
		{ required: !loggedIn(), minlength: 8, hint: "That of your account; without one it becomes yours." }));
	show(main, h("div", { class: "narrow" }, card("Accept an invitation", form(fields, "Accept", async (v) => {
		const made = JSON.parse(await text("POST", "/platform/v1/invites/accept", v));
		notice(`You are a member of ${made.namespace}, as ${made.role}.`);
		location.hash = "#services";
		if (loggedIn()) return done();
		await page(main, done);
	}, { kind: "tall" })),
	!loggedIn() && h("p", { class: "links" }, h("a", { href: "#services" }, "Log in"))));
}
