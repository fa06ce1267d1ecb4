/** What a MicroError is made of. */
export interface ErrorFields {
  id: string;
  code: number;
  detail: string;
  status?: string;
  requestId?: string;
  cause?: unknown;
}

/**
 * An error of the platform, of a service, or of the way there.
 *
 * `id` says where it comes from: the name of a service, `go.micro.…` for the
 * platform's edges, `micro.client` for this client. `code` is an HTTP status.
 */
export class MicroError extends Error {
  readonly id: string;
  readonly code: number;
  readonly detail: string;
  readonly status: string;
  /** Names the request in the platform's logs; empty if it never got there. */
  readonly requestId: string;

  constructor(f: ErrorFields) {
    super(f.detail || f.status || `error ${f.code}`, f.cause === undefined ? undefined : { cause: f.cause });
    this.name = "MicroError";
    this.id = f.id;
    this.code = f.code;
    this.detail = f.detail;
    this.status = f.status ?? "";
    this.requestId = f.requestId ?? "";
  }
}

/** An error of this client. */
export function clientError(code: number, detail: string, cause?: unknown): MicroError {
  return new MicroError({ id: "micro.client", code, detail, status: statusText[code] ?? "", cause });
}

const statusText: Record<number, string> = {
  400: "Bad Request",
  408: "Request Timeout",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/**
 * Reads an error as the platform writes it: an object of the fields id, code,
 * detail and status, and nothing else. Anything else is undefined.
 */
export function parseError(value: unknown, requestId: string): MicroError | undefined {
  if (typeof value !== "object" || value === null || Object.keys(value).length !== 4) return undefined;
  const { id, code, detail, status } = value as Record<string, unknown>;
  if (typeof id !== "string" || typeof code !== "number" || typeof detail !== "string" || typeof status !== "string") return undefined;
  return new MicroError({ id, code, detail, status, requestId });
}

/** The error in an answer whose status is one, whatever its body is. */
export function refusal(status: number, body: string, requestId: string): MicroError {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    // Something between the platform and here has answered.
  }
  return (
    parseError(value, requestId) ??
    new MicroError({ id: "micro.client", code: status, detail: body.slice(0, 200) || `HTTP status ${status}`, status: statusText[status] ?? "", requestId })
  );
}
