export { MicroError, type ErrorFields } from "./error.js";
export { Login, type LoginOptions, type Tokens, type TokenSource } from "./login.js";
export { Stream } from "./stream.js";
export { decodeBytes, encodeBytes } from "./json.js";
export type { CallOptions, ClientOptions } from "./client.js";
export type { Dial, Socket, SocketEvents, SocketTarget } from "./socket.js";
