// Passkeys, as browsers have them.

import { open } from "./api.js";

// passkeysWork says whether this browser has them, and this is where the server
// takes them to belong.
export const passkeysWork = (home) => location.origin === home && Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON);

// answerPasskey asks the authenticator to answer a challenge.
export async function answerPasskey() {
	const { ceremony, options } = await open("POST", "/platform/v1/passkeys/login/begin", {});
	const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(JSON.parse(options));
	const credential = await attempt(() => navigator.credentials.get({ publicKey }));
	return { ceremony, credential: JSON.stringify(credential.toJSON()) };
}

// makePasskey has the authenticator make one.
export async function makePasskey({ ceremony, options }) {
	const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(options));
	const credential = await attempt(() => navigator.credentials.create({ publicKey }));
	return { ceremony, credential: JSON.stringify(credential.toJSON()) };
}

async function attempt(action) {
	try {
		return await action();
	} catch (err) {
		const known = { NotAllowedError: "The passkey was not used: it was cancelled, or took too long.", InvalidStateError: "This authenticator has a passkey of yours already." };
		throw new Error(known[err.name] ?? err.message);
	}
}
