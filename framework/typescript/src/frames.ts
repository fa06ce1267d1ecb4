import { randomBytes } from "node:crypto";

import { clientError } from "./error.js";

/** The kinds of frames of RFC 6455. */
export enum Opcode {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10,
}

/** The largest message that is read: as large as the platform has them. */
const maxMessage = 16 << 20;

/** Writes a frame, masked as a client's must be. */
export function frame(opcode: Opcode, payload: Buffer): Buffer {
  const extended = payload.length < 126 ? 0 : payload.length < 1 << 16 ? 2 : 8;
  const out = Buffer.alloc(6 + extended + payload.length);
  out[0] = 0x80 | opcode;
  out[1] = 0x80 | (extended === 0 ? payload.length : extended === 2 ? 126 : 127);
  if (extended === 2) out.writeUInt16BE(payload.length, 2);
  if (extended === 8) out.writeBigUInt64BE(BigInt(payload.length), 2);
  const mask = randomBytes(4);
  mask.copy(out, 2 + extended);
  for (let i = 0; i < payload.length; i++) out[6 + extended + i] = payload[i]! ^ mask[i & 3]!;
  return out;
}

/** A message, or a frame about the connection. */
export interface Frame {
  opcode: Opcode;
  payload: Buffer;
}

/** Reads a server's frames and puts messages together from them. */
export class FrameReader {
  #pieces: Buffer[] = [];
  #size = 0;
  #need = 2; // bytes without which there is no frame
  #parts: Buffer[] = [];
  #total = 0;
  #opcode = Opcode.text;

  /** Takes the next bytes, and answers what is whole now. */
  push(piece: Buffer): Frame[] {
    this.#pieces.push(piece);
    this.#size += piece.length;
    if (this.#size < this.#need) return [];
    let rest = this.#pieces.length === 1 ? piece : Buffer.concat(this.#pieces);
    const frames: Frame[] = [];
    for (;;) {
      const h = header(rest);
      this.#need = h.need;
      if (rest.length < h.need || h.payload === undefined) break;
      this.#take(h, rest.subarray(h.payload, h.need), frames);
      rest = rest.subarray(h.need);
    }
    this.#pieces = [rest];
    this.#size = rest.length;
    return frames;
  }

  #take(h: Header, payload: Buffer, frames: Frame[]): void {
    if (h.opcode >= Opcode.close) {
      frames.push({ opcode: h.opcode, payload });
      return;
    }
    if (h.opcode !== Opcode.continuation) this.#opcode = h.opcode;
    this.#parts.push(payload);
    this.#total += payload.length;
    if (this.#total > maxMessage) throw tooLarge();
    if (!h.final) return;
    frames.push({ opcode: this.#opcode, payload: Buffer.concat(this.#parts) });
    this.#parts = [];
    this.#total = 0;
  }
}

interface Header {
  opcode: Opcode;
  final: boolean;
  /** Where the payload begins, once that is known. */
  payload?: number;
  /** Bytes that the frame has, or that are needed to know. */
  need: number;
}

function header(b: Buffer): Header {
  if (b.length < 2) return { opcode: Opcode.text, final: false, need: 2 };
  const h = { opcode: (b[0]! & 0x0f) as Opcode, final: (b[0]! & 0x80) !== 0 };
  const short = b[1]! & 0x7f;
  const payload = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (b.length < payload) return { ...h, need: payload };
  const size = short < 126 ? short : short === 126 ? b.readUInt16BE(2) : Number(b.readBigUInt64BE(2));
  if (size > maxMessage) throw tooLarge();
  return { ...h, payload, need: payload + size };
}

function tooLarge(): Error {
  return clientError(503, `a message of the stream is larger than ${maxMessage} bytes`);
}
