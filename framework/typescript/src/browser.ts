import { Client as Base, type ClientOptions } from "./client.js";
import { dial } from "./browser-socket.js";

export * from "./exports.js";

/** Calls the services of a platform. */
export class Client extends Base {
  constructor(options: ClientOptions) {
    super({ webSocket: dial, ...options });
  }
}
