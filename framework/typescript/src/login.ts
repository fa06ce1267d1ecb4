import { decode, encode } from "./json.js";
import { clientError, refusal } from "./error.js";

/** Where a client gets the token of its next call. */
export interface TokenSource {
  /** The token to send; "" for none. */
  token(): Promise<string>;
  /**
   * Is told that a token was refused. It answers whether there is another one
   * now, with which the call may be made again.
   */
  refused?(token: string): Promise<boolean>;
}

/** The tokens of a login. `expiry` is in seconds since 1970. */
export interface Tokens {
  accessToken: string;
  refreshToken: string;
  expiry: number;
}

/** What a Login needs. */
export interface LoginOptions {
  /** The platform's address, such as "https://api.example.com". */
  address: string;
  /** The namespace, for people who have an account in several. */
  namespace?: string;
  /** Is given the tokens whenever they change, to keep them. */
  onChange?: (tokens: Tokens) => void;
  fetch?: typeof fetch;
}

/** Seconds before an access token's end from when on it is renewed. */
const early = 30;

/** Milliseconds that a renewal may take. */
const timeout = 30_000;

/**
 * The login of an account. It renews its access token by itself, once for any
 * number of calls that wait for it. Programs without a person use an API token
 * instead, which needs none of this.
 */
export class Login implements TokenSource {
  #options: LoginOptions;
  #tokens: Tokens;
  #renewing: Promise<void> | undefined;

  /** Goes on with a login that was kept. */
  constructor(tokens: Tokens, options: LoginOptions) {
    this.#tokens = { ...tokens };
    this.#options = options;
  }

  /** Logs in with an id, which is a person's email, and a secret. */
  static async with(credentials: { id: string; secret: string }, options: LoginOptions): Promise<Login> {
    const tokens = await ask(options, { id: credentials.id, secret: credentials.secret });
    options.onChange?.({ ...tokens });
    return new Login(tokens, options);
  }

  /** The tokens as they are, to keep them. */
  get tokens(): Tokens {
    return { ...this.#tokens };
  }

  async token(): Promise<string> {
    if (Date.now() / 1000 > this.#tokens.expiry - early) await this.renew();
    return this.#tokens.accessToken;
  }

  async refused(token: string): Promise<boolean> {
    if (token === this.#tokens.accessToken) await this.renew();
    return token !== this.#tokens.accessToken;
  }

  /** Gets a new access token now. */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  async #renew(): Promise<void> {
    this.#tokens = await ask(this.#options, { refresh_token: this.#tokens.refreshToken });
    this.#options.onChange?.({ ...this.#tokens });
  }

  /** Ends the login on the platform. */
  async logout(): Promise<void> {
    await post(this.#options, "Logout", { refresh_token: this.#tokens.refreshToken });
  }
}

async function ask(options: LoginOptions, request: Record<string, unknown>): Promise<Tokens> {
  const answer = (await post(options, "Token", request)) as {
    token?: { access_token?: string; refresh_token?: string; expiry?: string | number };
  };
  const t = answer.token;
  if (!t?.access_token || !t.refresh_token) throw clientError(500, "the platform answered no token");
  return { accessToken: t.access_token, refreshToken: t.refresh_token, expiry: Number(t.expiry ?? 0) };
}

async function post(options: LoginOptions, method: string, request: Record<string, unknown>): Promise<unknown> {
  const send = options.fetch ?? fetch;
  const headers: Record<string, string> = { "Content-Type": "application/json" };
  if (options.namespace) headers["Micro-Namespace"] = options.namespace;
  let rsp: Awaited<ReturnType<typeof fetch>>;
  let text: string;
  try {
    const url = `${options.address.replace(/\/+$/, "")}/auth/Auth/${method}`;
    rsp = await send(url, { method: "POST", headers, body: encode(request), signal: AbortSignal.timeout(timeout) });
    text = await rsp.text();
  } catch (cause) {
    throw clientError(503, `cannot reach ${options.address}`, cause);
  }
  if (!rsp.ok) throw refusal(rsp.status, text, rsp.headers.get("X-Request-Id") ?? "");
  return decode(text);
}
