// Calls and streams from helloworld with the npm packages that people have, and
// prints a line of JSON for each thing it did.
//
//	node clients.js http://ADDRESS/ TOKEN
const micro = require('micro-js-client');
const m3o = require('m3o/helloworld');

const [address, token] = process.argv.slice(2);

const print = (name, answer) => console.log(JSON.stringify({ name, answer }));

// all collects what a stream sends until it is closed.
const all = stream =>
  new Promise(resolve => {
    const messages = [];
    stream.recv(m => messages.push(m));
    stream.conn.on('close', code => resolve({ messages, code }));
  });

// failure is what a call is rejected with.
const failure = call => call.then(() => 'no error', err => err);

async function main() {
  const client = new micro.Client({ token, address });
  print('micro-js-client call', await client.call('helloworld', 'call', { name: 'John' }));
  print('micro-js-client stream', await all(await client.stream('helloworld', 'stream', { count: 2 })));
  print('micro-js-client prefix', await new micro.Client({ token, address, prefix: '' }).call('helloworld', 'Call'));
  print('micro-js-client error', await failure(client.call('nothere', 'call', {})));
  print('micro-js-client without a token', await failure(new micro.Client({ address }).call('helloworld', 'call', {})));

  const service = new m3o.HelloworldService(token);
  service.client.options.address = address;
  print('m3o call', await service.call({ name: 'Jane' }));
  print('m3o stream', await all(await service.stream({ count: 3 })));
}

main().catch(err => {
  console.error(err);
  process.exit(1);
});
