import { clientError, parseError, type MicroError } from "./error.js";
import { decode, encode } from "./json.js";
import { abnormalClosure, normalClosure, type Dial, type Socket, type SocketTarget } from "./socket.js";

/** Messages that may wait for their reader before the socket is paused. */
const high = 64;

/** Messages that may wait where a socket cannot be paused. */
const most = 10_000;

/**
 * A stream both ways. Iterate it for the messages of the service; leaving the
 * loop closes it.
 */
export class Stream<Req, Rsp> implements AsyncIterableIterator<Rsp> {
  readonly #opening: Promise<Socket>;
  #socket: Socket | undefined;
  #queue: Rsp[] = [];
  #waiting: { resolve(r: IteratorResult<Rsp>): void; reject(e: unknown): void }[] = [];
  #held: { message: Rsp; error: MicroError } | undefined;
  #ended = false;
  #error: unknown;
  readonly #release: () => void;

  /** Made by Client.open. */
  constructor(dial: Dial, target: Promise<SocketTarget>, signal?: AbortSignal) {
    const abort = () => this.#end(signal?.reason);
    signal?.addEventListener("abort", abort);
    this.#release = () => signal?.removeEventListener("abort", abort);
    this.#opening = target.then((t) => {
      if (this.#ended) throw this.#error ?? clientError(400, "the stream is closed");
      return dial(t, { message: (text) => this.#message(text), closed: (code, error) => this.#closed(code, error) });
    });
    this.#opening.then(
      (socket) => {
        this.#socket = socket;
        if (this.#ended) socket.close();
      },
      (error: unknown) => this.#end(error),
    );
    if (signal?.aborted) abort();
  }

  /** Sends a message. It resolves when there is room for the next one. */
  async send(message: Req): Promise<void> {
    const text = encode(message);
    const socket = await this.#opening;
    if (this.#ended) throw this.#error ?? clientError(400, "the stream is closed");
    await socket.send(text);
  }

  /** Ends the stream, whatever is still to come. */
  close(): void {
    this.#queue = [];
    this.#end();
  }

  next(): Promise<IteratorResult<Rsp>> {
    const message = this.#queue.shift();
    if (message !== undefined) {
      if (this.#queue.length === 0) this.#socket?.resume();
      return Promise.resolve({ value: message, done: false });
    }
    if (!this.#ended) return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    const error = this.#error;
    this.#error = undefined; // it is told once
    return error === undefined ? Promise.resolve({ value: undefined, done: true }) : Promise.reject(error);
  }

  return(): Promise<IteratorResult<Rsp>> {
    this.close();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #message(text: string): void {
    if (this.#ended) return;
    this.#give();
    try {
      const message = decode(text) as Rsp;
      // An error comes as the last message, and only the close tells.
      const error = parseError(message, "");
      if (error) this.#held = { message, error };
      else this.#deliver(message);
    } catch (error) {
      this.#end(error);
    }
  }

  /** Delivers a message that only looked like an error. */
  #give(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held) this.#deliver(held.message);
  }

  #deliver(message: Rsp): void {
    const reader = this.#waiting.shift();
    if (reader) return reader.resolve({ value: message, done: false });
    this.#queue.push(message);
    if (this.#queue.length >= high) this.#socket?.pause();
    if (this.#queue.length > most) this.#end(clientError(503, `${most} messages of the stream wait for their reader`));
  }

  #closed(code: number, error?: Error): void {
    if (code === normalClosure) {
      this.#give();
      return this.#end();
    }
    const lost = `the stream was cut (WebSocket close code ${code === 0 ? abnormalClosure : code})`;
    this.#end(this.#held?.error ?? error ?? clientError(503, lost));
  }

  #end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#release();
    this.#socket?.close();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const reader of waiting) this.next().then(reader.resolve, reader.reject);
  }
}
