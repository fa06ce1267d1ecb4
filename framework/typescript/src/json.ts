import { clientError } from "./error.js";

/**
 * Writes a request. Beyond JSON it takes what messages have: bigint for 64-bit
 * integers, which become strings, and Uint8Array for bytes, which become
 * base64.
 */
export function encode(message: unknown): string {
  let text: string | undefined;
  try {
    // An array of bytes is asked for its properties before the replacer sees it.
    text = JSON.stringify(message ?? {}, (_, v: unknown) => {
      if (typeof v === "bigint") return v.toString();
      return v instanceof Uint8Array ? encodeBytes(v) : v;
    });
  } catch (cause) {
    throw clientError(400, "the request cannot be written as JSON", cause);
  }
  if (text === undefined || text[0] !== "{") throw clientError(400, "a request is an object");
  return text;
}

/** Reads a message. An empty answer is an empty message. */
export function decode(text: string): unknown {
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch (cause) {
    throw clientError(500, "the answer is not JSON", cause);
  }
}

/** Bytes as messages have them, base64. */
export function encodeBytes(bytes: Uint8Array): string {
  let binary = "";
  for (const b of bytes) binary += String.fromCharCode(b);
  return btoa(binary);
}

/** The bytes of a message's field. */
export function decodeBytes(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
