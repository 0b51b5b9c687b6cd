// Submits a job at one address and follows it with the clients of Connect, and
// prints what came of it as a line of JSON for each protocol.

import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";

const [baseUrl, descriptors] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const service = registry.getService("queuebridge.v1.Jobs");
const common = { baseUrl, httpVersion: "1.1" };
const transports = {
  grpc: createGrpcTransport({ baseUrl }),
  "grpc-web": createGrpcWebTransport(common),
  "connect-proto": createConnectTransport({ ...common, useBinaryFormat: true }),
  "connect-json": createConnectTransport({ ...common, httpVersion: "2", useBinaryFormat: false }),
};

// EchoRequest and EchoResponse: the payload is a field of bytes.
const echo = new Uint8Array([0x0a, 5, ...new TextEncoder().encode("hello")]);
const payload = (message) => new TextDecoder().decode(message.subarray(2));

for (const [transport, connection] of Object.entries(transports)) {
  const client = createClient(service, connection);
  const job = await client.submit({
    method: "/queuebridge.demo.v1.Probe/Echo",
    request: echo,
    wait: { seconds: 300n },
  });
  const watched = [];
  for await (const { job: seen } of client.watchResult({ id: job.id })) watched.push(seen.state);
  let error;
  try {
    await client.getResult({ id: "x" });
  } catch (failure) {
    const { code, details } = ConnectError.from(failure);
    error = { code, details: details.map((detail) => detail.type) };
  }
  const answer = payload(job.outcome.value.message);
  console.log(JSON.stringify({ transport, state: job.state, answer, watched, error }));
}
process.exit(0);
