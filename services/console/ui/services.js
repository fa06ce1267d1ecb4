// The services of the namespace: what runs, its logs, and calls.

import { h, form, button, table, card, ask, when, show } from "./dom.js";
import { call, stream, text, part } from "./api.js";

const statuses = ["unknown", "pending", "building", "starting", "running", "stopping", "stopped", "error"];
const status = (s) => { const word = statuses[s.status] ?? "unknown"; return h("span", { class: `status ${word}` }, word); };
const started = (m) => (m?.started ? new Date(m.started).toLocaleString() : "");

async function read() {
	const { services = [] } = await call("GET", "/platform/v1/services");
	return services.sort((a, b) => a.name.localeCompare(b.name));
}

export async function page(main, me) {
	const place = h("div");
	const refresh = async () => show(place, table(["Name", "Status", "Source", "Revision", "Updated"], (await read()).map((s) => [
		h("a", { href: `#services/${part(s.name)}` }, s.name), status(s), s.metadata?.source ?? s.source ?? "", s.metadata?.revision ?? "", started(s.metadata),
	]), h("span", {}, "Nothing runs here yet. Deploy something: ", h("code", {}, "micro new helloworld && micro run ./helloworld"))));
	const gone = me.role === "owner" && await deleted(me);
	if (gone) return show(main, gone); // nothing else is answered
	await refresh();
	show(main, card("Services", place));
	return refresh; // again and again, while it is shown
}

// deleted says that the namespace is, and how to have it back.
async function deleted(me) {
	const { deletion } = await call("GET", `/platform/v1/namespaces/${part(me.namespace)}/deletion`).catch(() => ({}));
	return Number(deletion?.deleted ?? 0) > 0 && card("This namespace is deleted", h("p", {}, `By ${deletion.account}, ${when(deletion.deleted)}. It can be undone until ${when(deletion.erase)}.`),
		button("Undo the deletion", async () => { await call("POST", `/platform/v1/namespaces/${part(me.namespace)}/undelete`, {}); await me.reload(); }));
}

export async function service(main, me, name) {
	const logs = h("pre", { tabindex: "0", "aria-label": "Logs" });
	const about = h("div");
	const refresh = async () => {
		const s = (await read()).find((x) => x.name === name);
		if (!s) { show(about, h("p", { class: "empty" }, `There is no service ${name}.`)); return; }
		show(about, h("dl", {},
			h("dt", {}, "Status"), h("dd", {}, status(s)), h("dt", {}, "Source"), h("dd", {}, s.metadata?.source ?? s.source ?? ""),
			h("dt", {}, "Version"), h("dd", {}, s.version ?? ""), h("dt", {}, "Updated"), h("dd", {}, started(s.metadata))),
		s.metadata?.crashing && h("p", { class: "error" }, `Crashing: ${s.metadata.crashing}`),
		s.metadata?.error && h("pre", { class: "error" }, s.metadata.error));
	};
	const tail = async () => {
		const lines = await stream(`/platform/v1/services/${part(name)}/logs?count=200`);
		logs.textContent = lines.map((l) => l.message ?? "").join("\n");
		logs.scrollTop = logs.scrollHeight;
	};
	const crash = async () => {
		const { crashes: [last] = [] } = await call("GET", `/platform/v1/services/${part(name)}/crashes`);
		logs.textContent = last
			? [`Revision ${last.revision}, ${when(last.at / 1000)}: ${last.reason}`, ...(last.lines ?? []).map((l) => l.message ?? "")].join("\n")
			: "No crash is kept.";
	};
	await refresh();
	show(main, 
		card(name, about, me.may("develop") && button("Delete this service", () => ask(`Delete ${name}?`, "It stops, and its callers find nothing.", [], "Delete",
			async () => { await call("DELETE", `/platform/v1/services/${part(name)}`); location.hash = "#services"; }, "danger"), "danger quiet")),
		await caller(name),
		card("Logs", h("p", { class: "actions" }, button("Refresh", tail, "quiet"), button("Last crash", crash, "quiet")), logs));
	tail().catch((err) => { logs.textContent = err.message; });
	return refresh;
}

// caller calls an endpoint of a service.
async function caller(name) {
	const found = await call("GET", `/platform/v1/registry/${part(name)}`).catch(() => ({}));
	const endpoints = (found.services?.[0]?.endpoints ?? []).map((e) => e.name);
	if (!endpoints.length) return null;
	const answer = h("pre", { "aria-live": "polite" });
	return card("Call it", form([
		{ name: "endpoint", label: "Endpoint", options: endpoints },
		{ name: "request", label: "Request, JSON", type: "textarea", rows: 4, spellcheck: "false", value: "{}" },
	], "Call", async ({ endpoint, request }) => {
		let body;
		try { body = JSON.parse(request || "{}"); } catch (err) { throw new Error(`The request is no JSON: ${err.message}`); }
		const rsp = await text("POST", "/" + [name, ...endpoint.split(".")].map(part).join("/"), body);
		try { answer.textContent = JSON.stringify(JSON.parse(rsp), null, 2); } catch { answer.textContent = rsp; }
	}), answer);
}
