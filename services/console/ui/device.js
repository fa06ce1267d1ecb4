// Logging a terminal in.

import { h, form, card, show } from "./dom.js";
import { call, part } from "./api.js";

export async function page(main, me) {
	show(main, h("div", { class: "narrow" }, card("Log a terminal in",
		h("p", {}, "Type the code that the terminal shows. Only one that you have started yourself: whoever sent you a code would be logged in as you."),
		form([{ name: "code", label: "Code", required: true, autofocus: true, autocomplete: "off", spellcheck: "false", autocapitalize: "characters", placeholder: "ABCD-EFGH" }], "Go on", async ({ code }) => {
			const found = await call("GET", `/platform/v1/devices/${part(code.trim())}`);
			show(main, h("div", { class: "narrow" }, card("Log a terminal in",
				h("p", {}, `The terminal at ${found.address || "an unknown address"} will be logged in to `, h("strong", {}, me.namespace), ` as ${me.account}.`),
				form([], "Log it in", async () => {
					await call("POST", `/platform/v1/devices/${part(code.trim())}/approve`, {});
					show(main, h("div", { class: "narrow" }, card("Done", h("p", {}, "The terminal is logged in. You may close this page."))));
				}))));
		}, { kind: "tall" }))));
	main.querySelector("input").focus();
}
