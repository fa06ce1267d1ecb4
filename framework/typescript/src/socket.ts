/** A WebSocket, in the form that a Stream needs. */
export interface Socket {
  /** Sends a message. It resolves when more may be sent. */
  send(text: string): Promise<void>;
  close(): void;
  /** Stops and resumes reading, where the socket can. */
  pause(): void;
  resume(): void;
}

/** What a Socket tells. After `closed` it tells nothing more. */
export interface SocketEvents {
  message(text: string): void;
  /** `error` says why the connection was refused or lost, if that is known. */
  closed(code: number, error?: Error): void;
}

/** How a call is made. */
export interface SocketTarget {
  url: string;
  token: string;
  namespace: string;
  headers: Record<string, string>;
}

/** Opens a WebSocket. It resolves when messages may be sent. */
export type Dial = (target: SocketTarget, events: SocketEvents) => Promise<Socket>;

/** Close codes: the end, a connection that was lost without one. */
export const normalClosure = 1000;
export const abnormalClosure = 1006;
