import { Client, MicroError } from "@micro/platform-client";

import { HelloworldClient } from "./gen/client.js";

const { MICRO_TEST_API: address = "", MICRO_TEST_TOKEN: token = "" } = process.env;
const client = new Client({ address, token });

const hello = new HelloworldClient(client);

const { msg } = await hello.call({ name: "Jane" });
if (msg !== "Hello Jane") throw new Error(msg);

let messages = 0;
for await (const { count } of hello.stream({ count: "3" })) if (count) messages++;
if (messages !== 3) throw new Error(`${messages} messages`);

const pingPong = hello.pingPong();
await pingPong.send({ stroke: "1" });
for await (const pong of pingPong) {
  if (pong.stroke !== "1") throw new Error(pong.stroke);
  break;
}

const error: unknown = await client.call("nothere", "A.B", {}).catch((e: unknown) => e);
if (!(error instanceof MicroError) || error.code !== 404) throw error;
