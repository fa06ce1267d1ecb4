// What was changed, by whom, from where.

import { h, form, button, table, card, show } from "./dom.js";
import { call, text } from "./api.js";

const most = 50; // entries at a time

export async function page(main) {
	const place = h("div");
	let filter = {};
	const list = async (before) => {
		const q = new URLSearchParams({ limit: most });
		for (const [k, v] of Object.entries(filter)) if (v) q.set(`filter.${k}`, v);
		if (before) q.set("before", before);
		const { entries = [] } = await call("GET", `/platform/v1/audit?${q}`);
		show(place, table(["When", "Who", "From", "What", "To", "Outcome"], entries.map((e) => [
			new Date(Number(e.time)).toLocaleString(), e.operator ? `${e.account} (operator)` : e.account, e.address ?? "", e.action,
			Object.entries(e.target ?? {}).map(([k, v]) => `${k} ${v}`).join(", "), e.outcome || "not known",
		]), "Nothing was changed."), h("p", { class: "actions" },
		before && button("Latest", () => list(), "quiet"), entries.length === most && button("Older", () => list(entries.at(-1).id), "quiet")));
	};
	await list();
	show(main, card("Audit log",
		form([{ name: "account", label: "Who" }, { name: "action", label: "What", placeholder: "runtime.*" }, { name: "target", label: "To" }], "Filter", async (v) => { filter = v; await list(); }),
		place, h("p", { class: "actions" }, button("Download all", download, "quiet"))));
}

async function download() {
	const lines = await text("GET", "/platform/v1/audit/export");
	const at = URL.createObjectURL(new Blob([lines], { type: "application/x-ndjson" }));
	h("a", { href: at, download: "audit.ndjson" }).click();
	setTimeout(() => URL.revokeObjectURL(at), 60_000);
}
