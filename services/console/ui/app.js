// The console: a client of the public REST API, without build and without
// dependencies. A page is a module with a function page(main, me, again); what it
// answers, if anything, is called every few seconds while it is shown.

import { $, h, notice, ask } from "./dom.js";
import { call, keep, loggedIn, logout, onEnd, inspect, renew } from "./api.js";
import * as signin from "./signin.js";
import * as services from "./services.js";
import * as members from "./members.js";
import * as security from "./security.js";
import * as usage from "./usage.js";
import * as audit from "./audit.js";
import * as admin from "./admin.js";
import * as device from "./device.js";

const main = $("main");

// pages by their place in the address; those with a title stand in the menu for
// whoever may see them.
const pages = {
	services: { title: "Services", show: (me, again, name) => (name ? services.service(main, me, name) : services.page(main, me)), needs: "read" },
	members: { title: "Members", show: (me, again) => members.page(main, me, again), needs: "read" },
	usage: { title: "Usage", show: (me, again) => usage.page(main, me, again), needs: "bill" },
	audit: { title: "Audit", show: () => audit.page(main), needs: "manage" },
	security: { title: "Security", show: (me, again) => security.page(main, me, again) },
	admin: { title: "Operators", show: (me, again, name) => admin.page(main, me, again, name), needs: "operate" },
	device: { show: (me) => device.page(main, me) },
	accept: { show: () => signin.accept(main, go) },
};
const outside = { signup: signin.signup, forgot: signin.forgot, accept: signin.accept };

// may says what a role shows. The server decides; this only leaves out what it
// would refuse.
const may = {
	read: ["owner", "admin", "developer", "viewer", ""],
	develop: ["owner", "admin", "developer", ""],
	manage: ["owner", "admin", ""],
	budget: ["owner", "admin", ""],
	bill: ["owner", "admin", "developer", "viewer", "billing", ""],
};

let me = null;

async function whoami() {
	const [account, { memberships = [] }] = await Promise.all([inspect(), call("GET", "/platform/v1/namespaces")]);
	const scopes = account.scopes ?? [];
	const role = memberships.find((m) => m.current)?.role ?? "";
	const admins = scopes.includes("admin");
	const enrolled = !scopes.includes("role:unenrolled");
	return {
		account: account.id, namespace: account.issuer, role, memberships, enrolled, reload, elsewhere,
		may: (what) => (what === "operate" ? admins && account.issuer === "micro" : enrolled && may[what].includes(role) && (role !== "" || admins || what === "bill" || what === "read")),
	};
}

// reload begins anew with a token that knows what has changed.
async function reload() {
	await renew();
	me = null;
	await go();
}

// elsewhere goes to another namespace, after this one was left.
async function elsewhere() {
	const other = me.memberships.find((m) => !m.current);
	if (!other) return logout();
	await change(other.namespace).catch(logout);
}

async function change(namespace) {
	keep((await call("POST", "/platform/v1/tokens/switch", { namespace })).token);
	me = null;
	location.hash = "#services";
	await go();
}

async function create() {
	let made;
	await ask("Another namespace", "You are its owner.", [{ name: "name", label: "Name", required: true, minlength: 3, maxlength: 31, pattern: "[a-z][a-z0-9\\-]*[a-z0-9]", hint: "Lower-case letters, digits and hyphens." }], "Make it",
		async (v) => { made = (await call("POST", "/platform/v1/namespaces", v)).namespace.id; await change(made); });
	if (!made) $("namespace").value = me.namespace;
}

function frame(place) {
	$("who").hidden = $("nav").hidden = !me;
	if (!me) return;
	const names = me.memberships.length ? me.memberships.map((m) => m.namespace) : [me.namespace];
	$("namespace").replaceChildren(...names.map((n) => h("option", { value: n, selected: n === me.namespace }, n)), ...(me.role ? [h("option", { value: "" }, "New namespace…")] : []));
	$("logout").title = me.account;
	$("nav").replaceChildren(...Object.entries(pages).filter(([, p]) => p.title && (!p.needs || me.may(p.needs)))
		.map(([id, p]) => h("a", { href: `#${id}`, "aria-current": id === place ? "page" : null }, p.title)));
}

// go shows the page of the address. Of two that are under way the later counts.
let turn = 0;
let refresh = null;
async function go() {
	const mine = ++turn;
	refresh = null;
	const [place, name] = location.hash.slice(1).split("/").map(decodeURIComponent);
	try {
		if (!loggedIn()) {
			me = null;
			frame();
			return await (outside[place] ?? signin.page)(main, go);
		}
		me ??= await whoami();
		let id = pages[place] ? place : "services";
		if (pages[id].needs && !me.may(pages[id].needs)) id = me.enrolled && me.may("bill") ? "usage" : "security";
		frame(id);
		document.title = `${pages[id].title ?? "Micro"} · ${me.namespace}`;
		const again = await pages[id].show(me, go, name);
		if (mine === turn) refresh = again ?? null;
	} catch (err) {
		if (mine === turn && loggedIn()) main.replaceChildren(h("p", { class: "error", role: "alert" }, err.message), h("p", {}, h("button", { class: "quiet", onclick: go }, "Try again")));
		else if (mine === turn) notice(err.message);
	}
}

onEnd(() => { me = null; go(); });
$("logout").addEventListener("click", () => { location.hash = ""; logout(); });
$("namespace").addEventListener("change", (e) => (e.target.value ? change(e.target.value) : create()).catch((err) => { notice(err.message); e.target.value = me.namespace; }));
addEventListener("hashchange", go);
setInterval(() => { if (refresh && !document.hidden) refresh().catch(() => {}); }, 3000);
if (!await signin.returned(main, go)) await go();
