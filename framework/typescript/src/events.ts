/** A server-sent event. */
export interface ServerEvent {
  /** "message" unless it has a name. */
  name: string;
  data: string;
}

/** Reads server-sent events, in pieces that end anywhere. */
export class EventReader {
  #rest = "";
  #name = "";
  #data: string[] = [];

  /** Takes the next piece, and answers the events that are whole now. */
  push(piece: string): ServerEvent[] {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    const events: ServerEvent[] = [];
    for (const line of lines) {
      if (line === "" || line === "\r") this.#end(events);
      else this.#field(line.replace(/\r$/, ""));
    }
    return events;
  }

  #field(line: string): void {
    const colon = line.indexOf(":");
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (line.startsWith("data:")) this.#data.push(value);
    if (line.startsWith("event:")) this.#name = value;
  }

  #end(events: ServerEvent[]): void {
    if (this.#data.length > 0) events.push({ name: this.#name || "message", data: this.#data.join("\n") });
    this.#data = [];
    this.#name = "";
  }
}
