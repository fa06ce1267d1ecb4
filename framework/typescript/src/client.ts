import { clientError, MicroError, refusal } from "./error.js";
import { EventReader } from "./events.js";
import { decode, encode } from "./json.js";
import type { TokenSource } from "./login.js";
import type { Dial } from "./socket.js";
import { Stream } from "./stream.js";

/** What a Client needs. */
export interface ClientOptions {
  /** The platform's address, such as "https://api.example.com". */
  address: string;
  /** An API token, an access token, or where to get one, such as a Login. */
  token?: string | TokenSource;
  /** The namespace of calls without a token; a token names its own. */
  namespace?: string;
  /** Milliseconds that a call may take, repetitions included: a minute. */
  timeout?: number;
  /** How often a call is repeated that may be: 2. */
  retries?: number;
  /** Sent with every call. In a browser the platform must allow them (CORS). */
  headers?: Record<string, string>;
  fetch?: typeof fetch;
  webSocket?: Dial;
}

/** What may differ from call to call. */
export interface CallOptions {
  signal?: AbortSignal;
  /** Milliseconds. Streams have no end unless this sets one. */
  timeout?: number;
  headers?: Record<string, string>;
  /**
   * Says that the call may be made twice, so that it is repeated when the
   * platform was not reached or a service was not there. Calls that the platform
   * has refused as too many are always repeated: they were not made.
   */
  idempotent?: boolean;
}

type Response = Awaited<ReturnType<typeof fetch>>;

/** Calls the services of a platform over HTTP. */
export class Client {
  readonly #o: ClientOptions;
  readonly #base: string;

  constructor(options: ClientOptions) {
    if (!/^https?:\/\/[^/]/.test(options.address)) {
      throw clientError(400, `the address is ${JSON.stringify(options.address)}: write http:// or https:// and a host`);
    }
    this.#o = options;
    this.#base = options.address.replace(/\/+$/, "");
  }

  /** Calls an endpoint such as "Helloworld.Call" of a service. */
  async call<Req, Rsp>(service: string, endpoint: string, request: Req, options: CallOptions = {}): Promise<Rsp> {
    const url = this.#base + path(service, endpoint);
    const body = encode(request);
    const bound = new Bound(options.timeout ?? this.#o.timeout ?? 60_000, options.signal);
    try {
      const rsp = await this.#send(url, body, options, bound);
      return decode(await bound.wait(rsp.text())) as Rsp;
    } finally {
      bound.release();
    }
  }

  /**
   * Calls an endpoint that answers with a stream. The call is made when the
   * first message is asked for; leaving the loop ends it.
   */
  async *stream<Req, Rsp>(service: string, endpoint: string, request: Req, options: CallOptions = {}): AsyncGenerator<Rsp, void, undefined> {
    options = { ...options, headers: { ...options.headers, Accept: "text/event-stream" } };
    const url = this.#base + path(service, endpoint);
    const body = encode(request);
    const bound = new Bound(options.timeout ?? 0, options.signal);
    try {
      const rsp = await this.#send(url, body, options, bound);
      yield* messages<Rsp>(rsp, bound);
    } finally {
      bound.cancel();
    }
  }

  /** Opens a stream both ways. The service is called with the first message. */
  open<Req, Rsp>(service: string, endpoint: string, options: Pick<CallOptions, "signal" | "headers"> = {}): Stream<Req, Rsp> {
    const dial = this.#o.webSocket;
    if (!dial) throw clientError(400, "this client has no WebSocket");
    const url = this.#base.replace(/^http/, "ws") + path(service, endpoint);
    const target = this.#token().then((token) => ({
      url,
      token,
      namespace: this.#o.namespace ?? "",
      headers: { ...this.#o.headers, ...options.headers },
    }));
    return new Stream<Req, Rsp>(dial, target, options.signal);
  }

  async #token(): Promise<string> {
    const { token } = this.#o;
    return typeof token === "object" ? token.token() : (token ?? "");
  }

  /** Sends a request, again where that is safe, and answers a good answer. */
  async #send(url: string, body: string, options: CallOptions, bound: Bound): Promise<Response> {
    let renewed = false;
    for (let left = this.#o.retries ?? 2; ; left--) {
      const token = await bound.wait(this.#token());
      let error: MicroError;
      let wait = 0;
      try {
        const rsp = await this.#once(url, body, token, options, bound);
        if (rsp.ok) return rsp;
        error = refusal(rsp.status, await bound.wait(rsp.text()), rsp.headers.get("X-Request-Id") ?? "");
        wait = pause(rsp, options.idempotent ?? false);
      } catch (cause) {
        bound.check(); // what was aborted failed for that reason
        error = cause instanceof MicroError ? cause : clientError(503, `cannot reach ${this.#base}`, cause);
        wait = options.idempotent ? 200 : 0;
      }
      if (error.code === 401 && !renewed && (renewed = await this.#renew(token, bound))) {
        left++;
        continue;
      }
      if (wait === 0 || left <= 0) throw error;
      await bound.wait(sleep(wait * (1 + Math.random() / 4)));
    }
  }

  async #once(url: string, body: string, token: string, options: CallOptions, bound: Bound): Promise<Response> {
    const headers: Record<string, string> = { ...this.#o.headers, ...options.headers, "Content-Type": "application/json" };
    if (token) headers["Authorization"] = `Bearer ${token}`;
    if (this.#o.namespace) headers["Micro-Namespace"] = this.#o.namespace;
    const send = this.#o.fetch ?? fetch;
    return send(url, { method: "POST", headers, body, signal: bound.signal, credentials: "omit" });
  }

  /** A call that was refused for its token was not made, so that it may be again. */
  async #renew(token: string, bound: Bound): Promise<boolean> {
    const source = this.#o.token;
    if (typeof source !== "object" || !source.refused) return false;
    return bound.wait(source.refused(token));
  }
}

/** Names an endpoint in a URL. */
function path(service: string, endpoint: string): string {
  const [handler, method, more] = endpoint.split(".");
  if (!service || !handler || !method || more !== undefined) {
    throw clientError(400, `no endpoint ${JSON.stringify(endpoint)} of service ${JSON.stringify(service)}: write Handler.Method`);
  }
  return "/" + [service, handler, method].map(encodeURIComponent).join("/");
}

/** Milliseconds to wait before a call is repeated; 0 if it must not be. */
function pause(rsp: Response, idempotent: boolean): number {
  if (rsp.status !== 429 && !(rsp.status === 503 && idempotent)) return 0;
  // A browser hides the header of another origin unless it is exposed.
  const seconds = Number(rsp.headers.get("Retry-After") ?? 1);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 1000;
}

/** The messages of a body of server-sent events. */
async function* messages<Rsp>(rsp: Response, bound: Bound): AsyncGenerator<Rsp, void, undefined> {
  if (!rsp.headers.get("Content-Type")?.startsWith("text/event-stream")) throw clientError(400, "the endpoint is no stream: use call");
  const events = new EventReader();
  const text = new TextDecoder();
  const reader = rsp.body?.getReader();
  for (;;) {
    const piece = reader && (await read(reader, bound));
    if (!piece) throw clientError(503, "the stream was cut");
    for (const event of events.push(text.decode(piece, { stream: true }))) {
      if (event.name === "end") return;
      if (event.name === "error") throw refusal(500, event.data, rsp.headers.get("X-Request-Id") ?? "");
      yield decode(event.data) as Rsp;
    }
  }
}

async function read(reader: ReadableStreamDefaultReader<Uint8Array>, bound: Bound): Promise<Uint8Array | undefined> {
  try {
    return (await bound.wait(reader.read())).value;
  } catch (cause) {
    bound.check();
    throw clientError(503, "the stream was cut", cause);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Ends what takes too long, or what the caller has aborted. */
class Bound {
  readonly #controller = new AbortController();
  readonly #aborted: Promise<never>;
  readonly #release: () => void;

  constructor(timeout: number, signal?: AbortSignal) {
    const abort = () => this.#controller.abort(signal?.reason);
    const timer =
      timeout > 0 ? setTimeout(() => this.#controller.abort(clientError(408, `no answer within ${timeout} ms`)), timeout) : undefined;
    signal?.addEventListener("abort", abort);
    this.#release = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    this.#aborted = new Promise((_, reject) => this.signal.addEventListener("abort", () => reject(this.signal.reason)));
    this.#aborted.catch(() => undefined); // it may be that nobody waits
    if (signal?.aborted) abort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Throws if it is over. */
  check(): void {
    if (this.signal.aborted) throw this.signal.reason;
  }

  /** Waits for something, but not beyond the end. */
  wait<T>(what: Promise<T>): Promise<T> {
    return Promise.race([what, this.#aborted]);
  }

  release(): void {
    this.#release();
  }

  /** Ends what still runs. */
  cancel(): void {
    this.#release();
    this.#controller.abort();
  }
}
