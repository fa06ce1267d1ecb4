// Elements, forms and tables. Text of others only ever becomes text: nothing
// here takes markup.

export const $ = (id) => document.getElementById(id);

const present = (children) => children.flat(Infinity).filter((c) => c != null && c !== false);

// show fills a place; what is null or false is left out.
export const show = (place, ...children) => place.replaceChildren(...present(children));

// h makes an element: attributes, listeners as "onclick", and children.
export function h(tag, attributes = {}, ...children) {
	const e = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
		else if (name === "value") e.value = value;
		else if (value === true) e.setAttribute(name, "");
		else if (value !== false && value != null) e.setAttribute(name, value);
	}
	e.append(...present(children));
	return e;
}

// notice tells what was done, for a while.
let fading;
export function notice(text) {
	clearTimeout(fading);
	$("notice").textContent = text;
	fading = setTimeout(() => { $("notice").textContent = ""; }, 6000);
}

// field is a labelled input: {name, label, type, hint, options, ...attributes}.
export function field({ name, label, hint, options, value, ...rest }) {
	const input = options
		? h("select", { name, ...rest }, options.map((o) => h("option", { value: o.value ?? o }, o.label ?? o)))
		: h(rest.type === "textarea" ? "textarea" : "input", { name, ...rest });
	if (value !== undefined) input.value = value;
	return h("label", {}, label, input, hint && h("small", {}, hint));
}

// form asks for fields and runs an action with their values. What goes wrong is
// shown in it, and what was typed stays.
export function form(fields, submit, action, { kind = "", after } = {}) {
	const problem = h("p", { class: "error", role: "alert", hidden: true });
	const button = h("button", { type: "submit" }, submit);
	const f = h("form", { class: kind }, fields.map((x) => (x instanceof Node ? x : field(x))), h("p", { class: "actions" }, button, after), problem);
	f.addEventListener("submit", async (e) => {
		e.preventDefault();
		if (button.disabled) return;
		button.disabled = true;
		problem.hidden = true;
		try {
			await action(Object.fromEntries(new FormData(f)), f);
		} catch (err) {
			problem.textContent = err.message;
			problem.hidden = false;
		} finally {
			button.disabled = false;
		}
	});
	return f;
}

// button runs an action, and shows beside itself what goes wrong.
export function button(label, action, kind = "") {
	const b = h("button", { type: "button", class: kind }, label);
	b.addEventListener("click", async () => {
		b.parentElement?.querySelector(":scope > .error")?.remove();
		b.disabled = true;
		try {
			await action();
		} catch (err) {
			b.after(h("span", { class: "error", role: "alert" }, err.message));
		} finally {
			b.disabled = false;
		}
	});
	return b;
}

// table shows rows of cells, or a sentence in their place.
export function table(heads, rows, empty) {
	if (!rows.length) return h("p", { class: "empty" }, empty);
	return h("div", { class: "scroll" }, h("table", {},
		h("thead", {}, h("tr", {}, heads.map((x) => h("th", { scope: "col" }, x)))),
		h("tbody", {}, rows.map((r) => h("tr", {}, r.map((c, i) => h("td", { "data-head": heads[i] }, c)))))));
}

// card is a part of a page.
export const card = (title, ...children) => h("section", { class: "card" }, h("h2", {}, title), children);

// ask puts fields into a dialog, and runs an action with their values. It answers
// once that has worked, or the person has cancelled.
export function ask(title, text, fields, submit, action, kind = "") {
	return new Promise((done) => {
		const d = h("dialog", { "aria-label": title });
		const close = (worked) => { d.close(); d.remove(); done(worked); };
		const cancel = h("button", { type: "button", class: "quiet", onclick: () => close(false) }, "Cancel");
		d.append(h("h2", {}, title), h("p", {}, text), form(fields, submit, async (v) => { await action(v); close(true); }, { kind, after: cancel }));
		d.addEventListener("cancel", () => close(false));
		document.body.append(d);
		d.showModal();
	});
}

const list = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

// when shows a moment: seconds since the epoch, or nothing.
export const when = (seconds) => (Number(seconds ?? 0) ? list.format(Number(seconds) * 1000) : "never");
