import { Client, MicroError } from "@micro/platform-client";

const { MICRO_TEST_API: address = "", MICRO_TEST_TOKEN: token = "" } = process.env;
const client = new Client({ address, token });

const { msg } = await client.call<{ name: string }, { msg: string }>("helloworld", "Helloworld.Call", { name: "Jane" });
if (msg !== "Hello Jane") throw new Error(msg);

const pingPong = client.open<{ stroke: number }, { stroke: string }>("helloworld", "Helloworld.PingPong");
await pingPong.send({ stroke: 1 });
for await (const pong of pingPong) {
  if (pong.stroke !== "1") throw new Error(pong.stroke);
  break;
}

const error: unknown = await client.call("nothere", "A.B", {}).catch((e: unknown) => e);
if (!(error instanceof MicroError) || error.code !== 404) throw error;
