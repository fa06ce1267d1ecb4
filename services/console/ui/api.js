// The public REST API, and the login that calls it.

// get fetches, once more if the network changes meanwhile.
async function get(url, init) {
	try {
		return await fetch(url, init);
	} catch {
		await new Promise((later) => setTimeout(later, 300));
		return fetch(url, init);
	}
}

export const { api } = await (await get("/config.json")).json();

// A login lives as long as its tab.
let session = JSON.parse(sessionStorage.getItem("session") ?? "null");
let ended = () => {};

export const loggedIn = () => Boolean(session);

// onEnd says what to do when the login is over.
export const onEnd = (f) => { ended = f; };

export function keep(token) {
	session = { ...token, expiry: Number(token.expiry) };
	sessionStorage.setItem("session", JSON.stringify(session));
}

function forget() {
	session = null;
	sessionStorage.removeItem("session");
}

export function logout() {
	const over = JSON.stringify({ refresh_token: session?.refresh_token });
	forget(); // here at once, at the server as soon as it hears
	fetch(`${api}/platform/v1/logout`, { method: "POST", body: over, keepalive: true }).catch(() => {});
	ended();
}

// Problem is what the API says went wrong.
export class Problem extends Error {
	constructor(status, reason, text) {
		super(text);
		this.status = status;
		this.reason = reason;
	}
}

async function send(method, path, body, token) {
	const headers = { "Content-Type": "application/json" };
	if (token) headers.Authorization = `Bearer ${token}`;
	let rsp;
	try {
		rsp = await (method === "GET" ? get : fetch)(api + path, { method, headers, body: body && JSON.stringify(body) });
	} catch {
		throw new Problem(0, "", "The server cannot be reached. Try again in a moment.");
	}
	const text = await rsp.text();
	if (rsp.ok) return text;
	throw new Problem(rsp.status, rsp.headers.get("Micro-Reason") ?? "", detail(text) || `${rsp.status} ${rsp.statusText}`);
}

function detail(text) {
	try { const o = JSON.parse(text); return o.detail || o.message; } catch { return text; }
}

// token answers an access token that is good for another half minute. However
// many ask, it is renewed once.
let renewing = null;
function token() {
	if (session.expiry * 1000 - Date.now() > 30_000) return session.access_token;
	renewing ??= renew().finally(() => { renewing = null; });
	return renewing;
}

// renew brings a token that knows of a role that has changed, too.
export async function renew() {
	try {
		keep(JSON.parse(await send("POST", "/platform/v1/tokens", { refresh_token: session.refresh_token })).token);
	} catch (err) {
		if (err.status === 0 || err.status >= 500) throw err;
		forget();
		ended();
		throw new Problem(401, "", "Your login has expired.");
	}
	return session.access_token;
}

// text calls the API as whoever is logged in.
export async function text(method, path, body) {
	if (!session) return send(method, path, body);
	try {
		return await send(method, path, body, await token());
	} catch (err) {
		if (err.status !== 401 || !session) throw err;
		return send(method, path, body, await renew()); // the role has changed, for instance
	}
}

// call is text for what answers one object.
export const call = async (method, path, body) => JSON.parse((await text(method, path, body)) || "{}");

// stream is text for what answers many, a line each.
export const stream = async (path) => (await text("GET", path)).split("\n").filter(Boolean).map((l) => { const o = JSON.parse(l); return o.result ?? o; });

// open calls the API as nobody.
export const open = async (method, path, body) => JSON.parse((await send(method, path, body)) || "{}");

// inspect answers the account of the login.
export const inspect = async () => (await open("POST", "/platform/v1/tokens/inspect", { token: await token() })).account;

export const part = encodeURIComponent;
