import micro = require("@micro/platform-client");

const { MICRO_TEST_API: address = "", MICRO_TEST_TOKEN: token = "" } = process.env;

async function use(): Promise<void> {
  const client = new micro.Client({ address, token });
  let messages = 0;
  for await (const m of client.stream<{ count: number }, { count: string }>("helloworld", "Helloworld.Stream", { count: 3 })) {
    if (m.count) messages++;
  }
  if (messages !== 3) throw new Error(`${messages} messages`);
}

void use();
