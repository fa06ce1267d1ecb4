import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, Login, type MicroError } from "@micro/platform-client";

// Where a platform is that runs the service "micro new helloworld" writes. The
// tests of the platform say it; without one there is nothing to test here.
const { MICRO_TEST_API: address = "", MICRO_TEST_TOKEN: token = "", MICRO_TEST_ID: id = "", MICRO_TEST_SECRET: secret = "" } = process.env;
const options = { skip: address === "" && "no platform: tests/clients_test.go has one" };

test("a platform", options, async (t) => {
  const client = new Client({ address, token });
  const greet = (c: Client) => c.call<{ name: string }, { msg: string }>("helloworld", "Helloworld.Call", { name: "Jane" });
  const count = (n: number) => client.stream<{ count: number }, { count: string }>("helloworld", "Helloworld.Stream", { count: n });

  await t.test("call", async () => assert.equal((await greet(client)).msg, "Hello Jane"));
  await t.test("errors", async () => {
    await assert.rejects(client.call("nothere", "A.B", {}), (e: MicroError) => e.code === 404 && e.requestId !== "" && e.detail === "service not found");
    await assert.rejects(greet(new Client({ address, token: "mtk_wrong" })), { code: 401 });
    await assert.rejects(client.stream("nothere", "A.B", {}).next(), { code: 404 });
  });
  await t.test("stream", async () => {
    const got: string[] = [];
    for await (const m of count(3)) got.push(m.count);
    assert.equal(got.length, 3);
  });
  await t.test("stream that is left", async () => {
    for await (const m of count(1000)) {
      assert.ok(m.count);
      break;
    }
  });
  await t.test("both ways", async () => {
    const stream = client.open<{ stroke: string }, { stroke: string }>("helloworld", "Helloworld.PingPong");
    for (const stroke of ["1", "2", "9007199254740993"]) {
      await stream.send({ stroke });
      assert.deepEqual((await stream.next()).value, { stroke });
    }
    stream.close();
    assert.ok((await stream.next()).done);
    await assert.rejects(stream.send({ stroke: "4" }), { code: 400 });
  });
  await t.test("both ways, refused", async () => {
    await assert.rejects(client.open("nothere", "A.B").next(), { code: 404 });
    await assert.rejects(client.open("helloworld", "Helloworld.Call").next(), { code: 400 });
    await assert.rejects(new Client({ address, token: "mtk_wrong" }).open("helloworld", "Helloworld.PingPong").next(), { code: 401 });
    const stream = client.open("helloworld", "Helloworld.PingPong");
    await stream.send({ stroke: "no number" });
    await assert.rejects(stream.next(), (e: MicroError) => e.name === "MicroError" && e.detail !== "");
  });
  await t.test("login", async () => {
    const login = await Login.with({ id, secret }, { address });
    const mine = new Client({ address, token: login });
    assert.equal((await greet(mine)).msg, "Hello Jane");
    const before = login.tokens;
    await login.renew();
    assert.notEqual(login.tokens.accessToken, before.accessToken);
    assert.equal((await greet(mine)).msg, "Hello Jane");
    await login.logout();
    await assert.rejects(login.renew(), { name: "MicroError" });
    await assert.rejects(Login.with({ id, secret: "wrong" }, { address }), { name: "MicroError" });
  });
});
