// The console: a client of the public REST API, without build and without
// dependencies. Text of others only ever goes into textContent.

const $ = (id) => document.getElementById(id);
const statuses = ["unknown", "pending", "building", "starting", "running", "stopping", "stopped", "error"];
const { api } = await (await fetch("config.json")).json();

let session = JSON.parse(sessionStorage.getItem("session") ?? "null");
let selected = "";

// request calls the API and answers the decoded body, or throws what it says.
async function request(method, path, body) {
	const headers = { "Content-Type": "application/json" };
	if (session) headers.Authorization = `Bearer ${await token()}`;
	const rsp = await fetch(api + path, { method, headers, body: body && JSON.stringify(body) });
	const text = await rsp.text();
	if (!rsp.ok) {
		if (rsp.status === 401 && session) logout();
		throw new Error(detail(text) || `${rsp.status} ${rsp.statusText}`);
	}
	return text;
}

function detail(text) {
	try { return JSON.parse(text).detail; } catch { return text; }
}

// token answers an access token that is good for another half minute.
async function token() {
	if (session.expiry * 1000 - Date.now() > 30_000) return session.access_token;
	const rsp = await fetch(`${api}/platform/v1/tokens`, { method: "POST", body: JSON.stringify({ refresh_token: session.refresh_token }) });
	if (!rsp.ok) { logout(); throw new Error("Your login has expired."); }
	keep((await rsp.json()).token);
	return session.access_token;
}

function keep(t) {
	session = { ...t, expiry: Number(t.expiry) };
	sessionStorage.setItem("session", JSON.stringify(session));
}

function logout() {
	session = null;
	sessionStorage.removeItem("session");
	show();
}

// attempt runs an action and shows what went wrong.
async function attempt(action) {
	$("problem").hidden = true;
	try { await action(); } catch (e) {
		$("problem").textContent = e.message;
		$("problem").hidden = false;
	}
}

async function show() {
	$("login").hidden = $("forgotten").hidden = Boolean(session);
	for (const id of ["who", "services"]) $(id).hidden = !session;
	if (!session) { $("service").hidden = true; return; }
	const me = JSON.parse(await request("POST", "/platform/v1/tokens/inspect", { token: await token() })).account;
	$("account").textContent = `${me.id} in ${me.issuer}`;
	await list();
}

async function list() {
	const { services = [] } = JSON.parse(await request("GET", "/platform/v1/services"));
	services.sort((a, b) => a.name.localeCompare(b.name));
	$("none").hidden = services.length > 0;
	$("rows").replaceChildren(...services.map(row));
	const current = services.find((s) => s.name === selected);
	$("reason").hidden = !current?.metadata.error;
	$("reason").textContent = current?.metadata.error ?? "";
}

function row(s) {
	const tr = document.createElement("tr");
	const open = document.createElement("button");
	open.className = "plain";
	open.textContent = s.name;
	open.onclick = () => attempt(() => select(s.name));
	const m = s.metadata ?? {};
	const cells = [open, statuses[s.status] ?? "unknown", m.source ?? s.source, m.revision ?? "", m.started ? new Date(m.started).toLocaleString() : ""];
	for (const c of cells) tr.insertCell().append(c);
	return tr;
}

async function select(name) {
	selected = name;
	$("service").hidden = false;
	$("name").textContent = name;
	$("response").textContent = $("logs").textContent = "";
	await list();
	await logs();
	const text = await request("GET", `/platform/v1/registry/${encodeURIComponent(name)}`).catch(() => "{}");
	const endpoints = JSON.parse(text).services?.[0]?.endpoints ?? [];
	$("endpoint").replaceChildren(...endpoints.map((e) => new Option(e.name)));
}

async function logs() {
	const text = await request("GET", `/platform/v1/services/${encodeURIComponent(selected)}/logs?count=200`);
	$("logs").textContent = text.split("\n").filter(Boolean).map((line) => (JSON.parse(line).result ?? JSON.parse(line)).message).join("\n");
}

$("login").onsubmit = (e) => {
	e.preventDefault();
	attempt(async () => {
		const text = await request("POST", "/platform/v1/tokens", { id: $("id").value, secret: $("secret").value });
		keep(JSON.parse(text).token);
		$("secret").value = "";
		await show();
	});
};

$("call").onsubmit = (e) => {
	e.preventDefault();
	attempt(async () => {
		const body = JSON.parse($("request").value || "{}");
		const path = [selected, ...$("endpoint").value.split(".")].map(encodeURIComponent).join("/");
		$("response").textContent = JSON.stringify(JSON.parse(await request("POST", `/${path}`, body)), null, 2);
	});
};

$("forgot").onsubmit = (e) => {
	e.preventDefault();
	attempt(async () => {
		const id = $("lost").value;
		if (!$("code").required) {
			await request("POST", "/platform/v1/password-resets", { id });
			$("sent").textContent = `If ${id} is an account, a code was sent to it.`;
			$("replacement").hidden = false;
			$("code").required = $("fresh").required = true;
			return;
		}
		await request("POST", "/platform/v1/password-resets/complete", { id, code: $("code").value, new_secret: $("fresh").value });
		$("sent").textContent = "The password is changed: log in with it.";
		$("replacement").hidden = true;
		$("code").required = $("fresh").required = false;
		$("code").value = $("fresh").value = "";
	});
};

$("refresh").onclick = () => attempt(logs);
$("logout").onclick = () => {
	const over = JSON.stringify({ refresh_token: session.refresh_token });
	logout(); // here at once, at the server as soon as it hears
	fetch(`${api}/platform/v1/logout`, { method: "POST", body: over }).catch(() => {});
};
setInterval(() => { if (session && !document.hidden) attempt(list); }, 3000);
attempt(show);
