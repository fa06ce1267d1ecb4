import assert from "node:assert/strict";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { Client, decodeBytes, encodeBytes, Login, MicroError, type ClientOptions } from "@micro/platform-client";

type Answer = { status: number; body: unknown; headers?: Record<string, string> };

/** Starts a server that gives answers, the last one for ever, and remembers requests. */
async function serve(answers: Answer[], use: (address: string, seen: { headers: http.IncomingHttpHeaders; body: string; url: string }[]) => Promise<void>): Promise<void> {
  const seen: { headers: http.IncomingHttpHeaders; body: string; url: string }[] = [];
  const server = http.createServer((req, rsp) => {
    let body = "";
    req.setEncoding("utf8").on("data", (piece: string) => (body += piece));
    req.on("end", () => {
      seen.push({ headers: req.headers, body, url: req.url ?? "" });
      const a = answers[Math.min(seen.length, answers.length) - 1]!;
      rsp.writeHead(a.status, { "X-Request-Id": `r${seen.length}`, ...a.headers });
      rsp.end(typeof a.body === "string" ? a.body : JSON.stringify(a.body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen);
  } finally {
    server.closeAllConnections?.();
    server.close();
  }
}

const ok: Answer = { status: 200, body: { msg: "hi" } };
const refused = (code: number, headers: Record<string, string> = {}): Answer => ({
  status: code,
  body: { id: "go.micro.proxy", code, detail: "not now", status: "" },
  headers,
});

test("a call", async () => {
  await serve([ok], async (address, seen) => {
    const client = new Client({ address: address + "/", token: "mtk_x", namespace: "acme", headers: { "X-More": "1" } });
    assert.deepEqual(await client.call("helloworld", "Helloworld.Call", { big: 12345678901234567890n, raw: new Uint8Array([1, 255]) }), { msg: "hi" });
    assert.equal(seen[0]!.url, "/helloworld/Helloworld/Call");
    assert.equal(seen[0]!.body, '{"big":"12345678901234567890","raw":"Af8="}');
    assert.equal(seen[0]!.headers.authorization, "Bearer mtk_x");
    assert.equal(seen[0]!.headers["micro-namespace"], "acme");
    assert.equal(seen[0]!.headers["x-more"], "1");
  });
});

test("what is repeated and what is not", async (t) => {
  const cases: { name: string; answers: Answer[]; idempotent?: boolean; calls: number; code: number }[] = [
    { name: "too many calls", answers: [refused(429, { "Retry-After": "0.01" }), ok], calls: 2, code: 0 },
    { name: "too many for ever", answers: [refused(429, { "Retry-After": "0.01" })], calls: 3, code: 429 },
    { name: "unavailable", answers: [refused(503, { "Retry-After": "0.01" }), ok], calls: 1, code: 503 },
    { name: "unavailable, idempotent", answers: [refused(503, { "Retry-After": "0.01" }), ok], idempotent: true, calls: 2, code: 0 },
    { name: "another error", answers: [refused(500), ok], idempotent: true, calls: 1, code: 500 },
  ];
  for (const c of cases) {
    await t.test(c.name, async () => {
      await serve(c.answers, async (address, seen) => {
        let code = 0;
        try {
          await new Client({ address }).call("a", "A.B", {}, { idempotent: c.idempotent ?? false });
        } catch (e) {
          assert.ok(e instanceof MicroError);
          assert.equal(e.detail, "not now");
          assert.equal(e.requestId, `r${c.calls}`);
          code = e.code;
        }
        assert.equal(code, c.code);
        assert.equal(seen.length, c.calls);
      });
    });
  }
});

test("errors of all kinds are MicroErrors", async (t) => {
  const cases: [string, Answer, number, RegExp][] = [
    ["a proxy's page", { status: 502, body: "<html>bad gateway</html>" }, 502, /bad gateway/],
    ["no JSON", { status: 200, body: "{" }, 500, /not JSON/],
  ];
  for (const [name, answer, code, detail] of cases) {
    await t.test(name, () =>
      serve([answer], async (address) => {
        await assert.rejects(new Client({ address }).call("a", "A.B", {}), (e) => e instanceof MicroError && e.code === code && detail.test(e.detail));
      }),
    );
  }
  await t.test("nobody there", () =>
    assert.rejects(new Client({ address: "http://127.0.0.1:1" }).call("a", "A.B", {}), (e) => e instanceof MicroError && e.code === 503 && e.cause !== undefined),
  );
});

test("mistakes are told before anything is sent", () => {
  const client = new Client({ address: "http://127.0.0.1:1" });
  const bad = { code: 400 };
  assert.throws(() => new Client({ address: "127.0.0.1:8080" }), bad);
  assert.throws(() => client.open("a", "Call"), bad);
  return Promise.all([
    assert.rejects(client.call("", "A.B", {}), bad),
    assert.rejects(client.call("a", "A.B.C", {}), bad),
    assert.rejects(client.call("a", "A.B", []), bad),
    assert.rejects(client.call("a", "A.B", 1), bad),
  ]);
});

test("time and aborting", async () => {
  const silent = http.createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const client = new Client({ address: `http://127.0.0.1:${(silent.address() as AddressInfo).port}` });
  try {
    await assert.rejects(client.call("a", "A.B", {}, { timeout: 20 }), { name: "MicroError", code: 408 });
    const stop = new AbortController();
    const call = client.call("a", "A.B", {}, { signal: stop.signal });
    stop.abort();
    await assert.rejects(call, { name: "AbortError" });
    await assert.rejects(client.call("a", "A.B", {}, { signal: AbortSignal.abort() }), { name: "AbortError" });
    await assert.rejects(client.stream("a", "A.B", {}, { timeout: 20 }).next(), { code: 408 });
    const stream = client.open("a", "A.B", { signal: AbortSignal.abort() });
    await assert.rejects(stream.next(), { name: "AbortError" });
    await assert.rejects(stream.send({}));
  } finally {
    silent.closeAllConnections?.();
    silent.close();
  }
});

const events = (text: string): Answer => ({ status: 200, body: text, headers: { "Content-Type": "text/event-stream" } });

test("how streams end", async (t) => {
  const cases: [string, Answer, unknown[], number][] = [
    ["well", events(': beat\n\ndata: {"n":1}\r\n\r\ndata: {"n":\ndata: 2}\n\nevent: end\ndata: {}\n\n'), [1, 2], 0],
    ["by an error", events('data: {"n":1}\n\nevent: error\ndata: {"id":"a","code":409,"detail":"x","status":"Conflict"}\n\n'), [1], 409],
    ["cut", events('data: {"n":1}\n\ndata: {"n"'), [1], 503],
    ["no stream", ok, [], 400],
  ];
  for (const [name, answer, want, code] of cases) {
    await t.test(name, () =>
      serve([answer], async (address) => {
        const got: unknown[] = [];
        let end = 0;
        try {
          for await (const m of new Client({ address }).stream<object, { n: number }>("a", "A.B", {})) got.push(m.n);
        } catch (e) {
          end = (e as MicroError).code;
        }
        assert.deepEqual(got, want);
        assert.equal(end, code);
      }),
    );
  }
});

test("a login renews its token once for all who wait", async () => {
  const issue = (n: number) => ({ status: 200, body: { token: { access_token: `a${n}`, refresh_token: `r${n}`, expiry: `${Math.floor(Date.now() / 1000) + 600}` } } });
  await serve([issue(2), ok], async (address, seen) => {
    const kept: string[] = [];
    const options = { address, onChange: (t: { accessToken: string }) => kept.push(t.accessToken) };
    const login = new Login({ accessToken: "a1", refreshToken: "r1", expiry: 0 }, options);
    const client = new Client({ address, token: login } satisfies ClientOptions);
    await Promise.all([client.call("a", "A.B", {}), client.call("a", "A.B", {})]);
    assert.deepEqual(kept, ["a2"]);
    assert.equal(seen.length, 3);
    assert.equal(seen[0]!.body, '{"refresh_token":"r1"}');
    assert.equal(seen[2]!.headers.authorization, "Bearer a2");
  });
  await serve([refused(401), issue(2), ok], async (address, seen) => {
    const login = new Login({ accessToken: "a1", refreshToken: "r1", expiry: 1e10 }, { address });
    await new Client({ address, token: login }).call("a", "A.B", {});
    assert.deepEqual(seen.map((r) => r.headers.authorization), ["Bearer a1", undefined, "Bearer a2"]);
  });
});

test("bytes", () => {
  assert.deepEqual(decodeBytes(encodeBytes(new Uint8Array([0, 128, 255]))), new Uint8Array([0, 128, 255]));
});
