import { createHash, randomBytes } from "node:crypto";
import * as http from "node:http";
import * as https from "node:https";
import type { Duplex } from "node:stream";

import { clientError, refusal } from "./error.js";
import { abnormalClosure, normalClosure, type Socket, type SocketEvents, type SocketTarget } from "./socket.js";
import { FrameReader, frame, Opcode } from "./frames.js";

/** Milliseconds that opening may take. */
const handshakeTimeout = 30_000;

/** What the server's key is made with, as RFC 6455 says. */
const suffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/**
 * Opens a WebSocket. Node has had one of its own from version 22 only, and that
 * sends no headers.
 */
export function dial(target: SocketTarget, events: SocketEvents): Promise<Socket> {
  const key = randomBytes(16).toString("base64");
  const headers: Record<string, string> = {
    ...target.headers,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Key": key,
    "Sec-WebSocket-Version": "13",
  };
  if (target.token) headers["Authorization"] = `Bearer ${target.token}`;
  if (target.namespace) headers["Micro-Namespace"] = target.namespace;
  const url = new URL(target.url.replace(/^ws/, "http"));
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? https : http).request(url, { headers, timeout: handshakeTimeout });
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", (cause) => reject(clientError(503, `cannot reach ${url.origin}`, cause)));
    request.on("response", (rsp) => void refused(rsp).then(reject));
    request.on("upgrade", (rsp, duplex, head) => {
      duplex.setTimeout(0);
      const accept = createHash("sha1").update(key + suffix).digest("base64");
      if (rsp.headers["sec-websocket-accept"] !== accept) {
        duplex.destroy();
        return reject(clientError(503, `${url.origin} did not accept the WebSocket`));
      }
      const socket = new NodeSocket(duplex, events);
      resolve(socket);
      // The reader of the promise gets to know the socket before its messages.
      setImmediate(() => socket.start(head));
    });
    request.end();
  });
}

/** Why there was no upgrade. */
async function refused(rsp: http.IncomingMessage): Promise<Error> {
  const status = rsp.statusCode ?? 0;
  let body = "";
  for await (const piece of rsp.setEncoding("utf8")) if (body.length < 1 << 16) body += String(piece);
  if (status < 300) return clientError(400, "the endpoint is no stream");
  return refusal(status, body, String(rsp.headers["x-request-id"] ?? ""));
}

type Timed = Duplex & { setTimeout(ms: number): void };

class NodeSocket implements Socket {
  readonly #reader = new FrameReader();
  readonly #duplex: Timed;
  readonly #events: SocketEvents;
  #code = abnormalClosure;
  #error: Error | undefined;
  #closing = false;

  constructor(duplex: Duplex, events: SocketEvents) {
    this.#duplex = duplex as Timed;
    this.#events = events;
  }

  start(head: Buffer): void {
    this.#duplex.on("error", (cause: Error) => (this.#error ??= clientError(503, "the connection was lost", cause)));
    this.#duplex.on("close", () => this.#events.closed(this.#code, this.#error));
    this.#duplex.on("end", () => this.#duplex.destroy());
    this.#duplex.on("data", (piece: Buffer) => this.#data(piece));
    if (head.length > 0) this.#data(head);
  }

  send(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#duplex.write(frame(Opcode.text, Buffer.from(text)), (error) => (error ? reject(error) : resolve()));
    });
  }

  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#code = normalClosure;
    this.#duplex.resume(); // to see the other side's close
    this.#duplex.end(frame(Opcode.close, Buffer.from([normalClosure >> 8, normalClosure & 0xff])));
    this.#duplex.setTimeout(1000);
    this.#duplex.once("timeout", () => this.#duplex.destroy());
  }

  pause(): void {
    this.#duplex.pause();
  }

  resume(): void {
    this.#duplex.resume();
  }

  #data(piece: Buffer): void {
    try {
      for (const f of this.#reader.push(piece)) this.#frame(f.opcode, f.payload);
    } catch (error) {
      this.#error ??= error as Error;
      this.#duplex.destroy();
    }
  }

  #frame(opcode: Opcode, payload: Buffer): void {
    switch (opcode) {
      case Opcode.ping:
        this.#duplex.write(frame(Opcode.pong, payload));
        return;
      case Opcode.close:
        if (!this.#closing) this.#code = payload.length >= 2 ? payload.readUInt16BE() : normalClosure;
        this.#closing = true;
        this.#duplex.end(frame(Opcode.close, payload.subarray(0, 2)));
        return;
      case Opcode.text:
      case Opcode.binary:
        this.#events.message(payload.toString("utf8"));
    }
  }
}
