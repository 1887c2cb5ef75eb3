// A worker in Node that knows nothing of tq but its .proto file:  node worker.js HOST:PORT
// It serves the task types `reverse` and `length`, and comes back when the broker does.
'use strict';

const crypto = require('node:crypto');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const PROTO = path.join(__dirname, '..', '..', 'tq', 'proto', 'taskqueue.proto');
const BEAT_MS = 5000;
const BACK_OFF_MS = 200;
const HANDLERS = {
  reverse: (payload) => Buffer.from(payload).reverse(),
  length: (payload) => Buffer.from(String(payload.length)),
};

const { TaskQueue } = grpc.loadPackageDefinition(
  // Tokens are 64 bits wide, which a number of JavaScript is not: they travel as text.
  loader.loadSync(PROTO, { keepCase: true, longs: String }),
).taskqueue.v1;
const client = new TaskQueue(process.argv[2], grpc.credentials.createInsecure());
const sessionId = crypto.randomUUID();
const open = new Map(); // request_id -> settlements that are not known to be taken
let requests = 0;

function run(delivery) {
  const settlement = { task_id: delivery.task_id, token: delivery.token };
  try {
    return { ...settlement, result: HANDLERS[delivery.task_type](delivery.payload) };
  } catch (error) {
    return { ...settlement, cause: 'ERROR', error: String(error.stack) };
  }
}

function settle(stream, settlements) {
  requests += 1;
  open.set(String(requests), settlements);
  stream.write({ request_id: requests, settlements });
}

function work() {
  const stream = client.Work();
  const unsettled = [...open.values()].flat();
  open.clear();
  stream.write({
    register: {
      session_id: sessionId,
      worker_id: `node-${process.pid}`,
      task_types: Object.keys(HANDLERS),
      capacity: 100,
      holds: unsettled.map(({ task_id, token }) => ({ task_id, token })),
    },
  });
  if (unsettled.length) settle(stream, unsettled);
  const beat = setInterval(() => stream.write({ heartbeat: {} }), BEAT_MS);
  stream.on('data', ({ answers = [], deliveries = [] }) => {
    for (const answer of answers) open.delete(answer.request_id);
    if (deliveries.length) settle(stream, deliveries.map(run));
  });
  stream.on('error', () => {}); // 'status' says the same, and comes however the stream ends
  stream.on('status', () => {
    clearInterval(beat);
    setTimeout(work, BACK_OFF_MS);
  });
}

work();
