import { clientError } from "./error.js";
import { abnormalClosure, type Socket, type SocketEvents, type SocketTarget } from "./socket.js";

/** Bytes that may wait to be sent. */
const high = 1 << 20;

/**
 * Opens a WebSocket of the browser. It cannot send headers, so the token and the
 * namespace go as subprotocols, of which the platform accepts the first.
 */
export function dial(target: SocketTarget, events: SocketEvents): Promise<Socket> {
  const protocols = ["micro"];
  if (target.token) protocols.push(`bearer.${target.token}`);
  if (target.namespace) protocols.push(`namespace.${target.namespace}`);
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(target.url, protocols);
    let opened = false;
    ws.onopen = () => {
      opened = true;
      resolve(new BrowserSocket(ws));
    };
    ws.onmessage = (e: MessageEvent) => events.message(String(e.data));
    ws.onclose = (e: CloseEvent) => {
      if (opened) return events.closed(e.code || abnormalClosure);
      // A page is not told why.
      reject(clientError(503, `no stream from ${target.url}: it cannot be reached, the endpoint is no stream, or the token is refused`));
    };
  });
}

class BrowserSocket implements Socket {
  constructor(readonly ws: WebSocket) {}

  async send(text: string): Promise<void> {
    this.ws.send(text);
    // There is no event for it.
    while (this.ws.bufferedAmount > high && this.ws.readyState === WebSocket.OPEN) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  close(): void {
    this.ws.close(1000);
  }

  // A browser's socket reads on, whatever we do.
  pause(): void {}
  resume(): void {}
}
