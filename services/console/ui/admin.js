// For operators: a namespace, its plan and limits, suspension.

import { h, form, button, table, card, ask, notice, when, show } from "./dom.js";
import { call, part } from "./api.js";

export async function page(main, me, again, chosen = "") {
	const place = h("div"), list = h("div");
	const { plans = [] } = await call("GET", "/platform/v1/plans");
	const open = (name) => detail(place, name, plans);
	show(main, card("Namespaces", form([{ name: "text", label: "Name or owner", hint: "A part of it; nothing lists all.", value: chosen, autofocus: true }], "Search",
		({ text }) => search(list, text ?? "", open)), list), place);
	await search(list, chosen, open);
	if (chosen) await detail(place, chosen, plans).catch((err) => show(place, h("p", { class: "error", role: "alert" }, err.message)));
}

// search lists the namespaces with a text in their name or owner, a page at a time.
async function search(list, text, open, before = []) {
	const after = before.at(-1)?.namespace ?? "";
	const { namespaces: found = [] } = await call("GET", `/platform/v1/all-namespaces?${new URLSearchParams({ text, after, limit: page_size })}`);
	const all = [...before, ...found];
	show(list, table(["Namespace", "Owner", "Plan", "Since", "State", ""], all.map((n) => [n.namespace, n.owner, n.plan, when(n.created),
		n.suspended ? `suspended: ${n.suspended}` : (n.state ?? "ACTIVE").toLowerCase(), button("Show", () => open(n.namespace), "quiet")]), "No namespace is like that."),
		found.length === page_size && button("More", () => search(list, text, open, all), "quiet"));
}

const page_size = 50;

async function detail(place, name, plans) {
	const at = `/platform/v1/namespaces/${part(name)}`;
	const [{ namespace }, limits, { members = [] }] = await Promise.all([call("GET", at), call("GET", `${at}/limits`), call("GET", `${at}/members`)]);
	const again = () => detail(place, name, plans);
	show(place, 
		card(namespace.id, h("dl", {}, h("dt", {}, "Owner"), h("dd", {}, namespace.owner), h("dt", {}, "Since"), h("dd", {}, when(namespace.created)), h("dt", {}, "Plan"), h("dd", {}, limits.plan)),
			limits.suspension
				? [h("p", { class: "error" }, `Suspended since ${when(limits.suspension.since)}: ${limits.suspension.reason}`), button("Resume", async () => { await call("DELETE", `${at}/suspension`); await again(); })]
				: button("Suspend", () => ask(`Suspend ${name}?`, "Its calls are refused and its containers stopped, within a second. Members see the reason.",
					[{ name: "reason", label: "Reason", required: true, maxlength: 500 }], "Suspend", async (v) => { await call("PUT", `${at}/suspension`, v); await again(); }, "danger"), "danger quiet")),
		card("Plan", form([{ name: "plan", label: "Plan", options: plans.map((p) => ({ value: p.id, label: p.title || p.id })), value: limits.plan }], "Set", async (v) => {
			await call("PUT", `${at}/plan`, v);
			notice(`${name} is on plan ${v.plan}.`);
			await again();
		})),
		card("Limits", table(["Limit", "Value", "Unit", ""], (limits.limits ?? []).map((l) => [l.name, Number(l.value) === -1 ? "unlimited" : l.value, l.unit ?? "",
			l.own && button("As in the plan", async () => { await call("PUT", `${at}/plan`, { unset: [l.name] }); await again(); }, "quiet")]), "None."),
		form([{ name: "name", label: "Limit", options: (limits.limits ?? []).map((l) => l.name) }, { name: "value", label: "Value", type: "number", min: -1, required: true, hint: "-1 is unlimited." }], "Set",
			async (v) => { await call("PUT", `${at}/plan`, { limits: { [v.name]: v.value } }); await again(); })),
		card("Members", table(["Account", "Role", "Since"], members.map((m) => [m.account, m.role, when(m.since)]), "None.")));
}
