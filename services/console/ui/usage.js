// Plan, limits, use and budgets.

import { h, form, button, table, card, notice, show } from "./dom.js";
import { call, part } from "./api.js";

const number = new Intl.NumberFormat();
const units = ["B", "KiB", "MiB", "GiB", "TiB"];
const bytes = (n) => { let i = 0; for (n = Number(n ?? 0); n >= 1024 && i < 4; i++) n /= 1024; return `${number.format(Math.round(n * 10) / 10)} ${units[i]}`; };
const amount = (n, unit) => (Number(n) === -1 ? "unlimited" : unit === "bytes" ? bytes(n) : `${number.format(Number(n))} ${unit}`);
const actions = { NOTIFY: "a mail", THROTTLE: "slow down", STOP: "stop" };
const money = (smallest, currency) => (currency ? new Intl.NumberFormat(undefined, { style: "currency", currency }).format(smallest / 100) : number.format(smallest));

export async function page(main, me, again) {
	const [limits, used, days, budgets] = await Promise.all([
		call("GET", "/platform/v1/limits"), call("GET", "/platform/v1/usage?by=service"), call("GET", "/platform/v1/usage?by=day"),
		call("GET", "/platform/v1/budgets").catch(() => null),
	]);
	show(main, 
		limits.suspension && h("p", { class: "error", role: "alert" }, `This namespace is suspended: ${limits.suspension.reason}`),
		...(limits.throttles ?? []).map((t) => h("p", { class: "error" }, `${t.service || "The namespace"} is held back: ${t.reason}`)),
		card("This month", chart(days.rows ?? []), table(["Service", "Calls", "Refused", "Received", "Sent", "CPU", "Memory"], (used.rows ?? []).map((r) => [
			r.service || "(platform)", number.format(Number(r.calls ?? 0)), number.format(Number(r.refused ?? 0)), bytes(r.bytes_in), bytes(r.bytes_out),
			`${number.format(Math.round(Number(r.cpu_milli_seconds ?? 0) / 1000))} s`, `${number.format(Math.round(Number(r.memory_mib_seconds ?? 0) / 1024))} GiB·s`,
		]), "Nothing was used yet.")),
		budgets && card("Budgets", spent(budgets, me, again)),
		card(`Plan: ${limits.plan}`, table(["Limit", "Value", ""], (limits.limits ?? []).map((l) => [l.name.replaceAll("_", " "), amount(l.value, l.unit ?? ""), l.own ? "yours" : ""]), "No limits.")));
}

// chart draws the calls of each day.
function chart(rows) {
	if (rows.length < 2) return null;
	const most = Math.max(...rows.map((r) => Number(r.calls ?? 0)), 1);
	const bars = rows.map((r) => {
		const bar = h("span", { title: `${r.day}: ${number.format(Number(r.calls ?? 0))} calls` });
		bar.style.height = `${Math.max(2, (Number(r.calls ?? 0) / most) * 100)}%`;
		return bar;
	});
	return h("div", { class: "chart", role: "img", "aria-label": `Calls by day, at most ${number.format(most)}` }, bars);
}

function spent({ budgets = [], currency, requests, requests_limit }, me, again) {
	const counted = Number(requests_limit ?? -1) > 0 && h("p", {}, `${number.format(Number(requests ?? 0))} of ${number.format(Number(requests_limit))} calls of the plan `,
		h("progress", { max: String(requests_limit), value: Number(requests ?? 0) }));
	const rows = budgets.map((b) => [b.service || "all", money(Number(b.spent_millionths ?? 0) / 1e6, currency), Number(b.cap ?? 0) ? money(Number(b.cap), currency) : "none",
		actions[b.action ?? "NOTIFY"] ?? b.action, b.default ? "the server's" : me.may("budget") && button("Remove", async () => {
			await call("DELETE", b.service ? `/platform/v1/budgets/${part(b.service)}` : "/platform/v1/budgets");
			await again();
		}, "quiet danger")]);
	return [counted, table(["Service", "Spent", "Budget", "At its end", ""], rows, "There is no budget."),
		me.may("budget") && form([
			{ name: "service", label: "Service", placeholder: "empty is all" },
			{ name: "cap", label: "Budget a month", type: "number", min: 0, step: "0.01", required: true, hint: currency ?? "" },
			{ name: "action", label: "At its end", options: Object.entries(actions).map(([value, label]) => ({ value, label })) },
		], "Set", async (v) => {
			await call("PUT", v.service ? `/platform/v1/budgets/${part(v.service)}` : "/platform/v1/budgets", { cap: String(Math.round(Number(v.cap) * 100)), action: v.action });
			notice("The budget is set.");
			await again();
		})];
}
